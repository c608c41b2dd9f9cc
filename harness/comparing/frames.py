"""Messages between a comparison and the process of a candidate: JSON with numpy arrays behind it, each part with its length before it.

Nothing is unpickled: the other side may be another environment. Read by the candidate's Python before anything is known of it, so only the
standard library is imported here, and numpy where arrays travel.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROTOCOL = 1
"""Version of what both sides say to each other. 1: first."""

_LENGTH = struct.Struct(">Q")
_ARRAYS = "arrays"


def send(stream: IO[bytes], message: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None) -> None:
    """Write one message. Raises OSError (BrokenPipeError where nobody listens any more)."""
    arrays = arrays or {}
    parts = [json.dumps({**message, _ARRAYS: list(arrays)}).encode(), *map(_as_npy, arrays.values())]
    _write(stream, b"".join(piece for part in parts for piece in (_LENGTH.pack(len(part)), part)))
    stream.flush()


def receive(stream: IO[bytes]) -> dict[str, Any] | None:
    """The next message, its arrays by name under "arrays"; None where the other side is gone, also in the middle of a message.
    Raises ValueError for what is no message."""
    head = _part(stream)
    if head is None:
        return None
    message: dict[str, Any] = json.loads(head)
    arrays = {}
    for name in message[_ARRAYS]:
        part = _part(stream)
        if part is None:
            return None
        arrays[name] = _from_npy(part)
    return {**message, _ARRAYS: arrays}


def _write(stream: IO[bytes], data: bytes) -> None:
    """All of it: a raw pipe may take less at once."""
    left = memoryview(data)
    while left:
        left = left[stream.write(left) or 0 :]


def _part(stream: IO[bytes]) -> bytes | None:
    length = _exactly(stream, _LENGTH.size)
    return None if length is None else _exactly(stream, _LENGTH.unpack(length)[0])


def _exactly(stream: IO[bytes], size: int) -> bytes | None:
    pieces, missing = [], size
    while missing:
        piece = stream.read(min(missing, 1 << 20))
        if not piece:
            return None
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


def _as_npy(array: NDArray[Any]) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def _from_npy(data: bytes) -> NDArray[Any]:
    import numpy as np

    found: NDArray[Any] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    return found
