"""The tokenizer of a model folder, and how it lays out its inputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core import Int32
from harness.datafiles import read_bytes
from harness.errors import DataError, MissingError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

CHUNK = 512
"""Texts given to the tokenizer at a time: enough to keep its threads busy, few enough to keep the memory small."""

_SLOW_FILES = ("vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A tokenizer without padding and truncation.

    sha256      over its tokenizer.json
    pad_id      fills inputs behind the real tokens; 0 for a model that names no padding token (it is masked anyway)
    wordpiece   its pieces are words of a text, cut into `piece ##piece`, as in BERT; otherwise it encodes raw text, as RoBERTa does
    """

    tokenizer: Tokenizer
    sha256: str
    pad_id: int
    wordpiece: bool

    def pieces(self, ids: Int32) -> list[str]:
        """Tokens as they stand in the vocabulary."""
        return [self.tokenizer.id_to_token(number) or "" for number in ids.tolist()]

    def basic(self, text: str) -> list[str]:
        """`text` as normalised words and punctuation: the step before pieces, BasicTokenizer of the original BERT."""
        if self.tokenizer.normalizer is not None:
            text = self.tokenizer.normalizer.normalize_str(text)
        if self.tokenizer.pre_tokenizer is None:
            return text.split()
        return [word for word, _ in self.tokenizer.pre_tokenizer.pre_tokenize_str(text)]


def load_vocabulary(folder: Path) -> Vocabulary:
    """The fast tokenizer saved in a model folder (tokenizer.json, or one converted by transformers from the files of a slow one).

    Raises MissingError where there is none and DataError where it cannot be read.
    """
    path = folder / "tokenizer.json"
    content = read_bytes(path) if path.is_file() else _converted(folder)
    tokenizer = _parsed(content, path)
    padding = tokenizer.padding
    tokenizer.no_padding()
    tokenizer.no_truncation()
    pad_id = padding["pad_id"] if padding else _pad_id(tokenizer, folder)
    wordpiece = type(tokenizer.model).__name__ == "WordPiece"
    return Vocabulary(tokenizer, hashlib.sha256(content).hexdigest(), pad_id, wordpiece)


def _parsed(content: bytes, path: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_buffer(content)
    except Exception as error:  # the library raises plain Exception or ValueError, depending on what is wrong
        raise DataError(f"{path}: not a tokenizer ({error})", "Save the tokenizer again with save_pretrained.") from error


def _converted(folder: Path) -> bytes:
    """tokenizer.json made by transformers from vocab.txt or the like."""
    cure = "Save the fast tokenizer there: AutoTokenizer.from_pretrained(NAME, use_fast=True).save_pretrained(FOLDER)."
    if not any((folder / name).is_file() for name in _SLOW_FILES):
        raise MissingError(f"{folder}: holds no tokenizer.json", cure)
    from transformers import AutoTokenizer

    try:
        fast = AutoTokenizer.from_pretrained(str(folder), use_fast=True, local_files_only=True)
        return str(fast.backend_tokenizer.to_str()).encode()
    except Exception as error:  # conversion fails in as many ways as there are tokenizers
        raise MissingError(f"{folder}: holds no tokenizer.json, and its other files cannot be converted ({error})", cure) from error


def _pad_id(tokenizer: Tokenizer, folder: Path) -> int:
    """Padding token as the files beside the tokenizer name it, else the usual names."""
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        token = _setting(folder / name, "pad_token")
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str) and (number := tokenizer.token_to_id(token)) is not None:
            return number
    number = _setting(folder / "config.json", "pad_token_id")
    if type(number) is int and number >= 0:
        return number
    return next((number for token in ("[PAD]", "<pad>") if (number := tokenizer.token_to_id(token)) is not None), 0)


def _setting(path: Path, key: str) -> Any:
    """`key` of a JSON object, None where there is no such file or key."""
    if not path.is_file():
        return None
    try:
        settings = json.loads(read_bytes(path))
    except ValueError as error:
        raise DataError(f"{path}: is not JSON ({error})", "Save the model and its tokenizer again with save_pretrained.") from error
    return settings.get(key) if isinstance(settings, dict) else None


def encode(tokenizer: Tokenizer, texts: Sequence[str] | Sequence[Sequence[str]], special: bool = False) -> Iterator[Encoding]:
    """Encodings of `texts`, in order. A text given as a sequence of words is encoded word by word, and `word_ids` name the owners.

    `special` adds the special tokens of a single text.
    """
    for start in range(0, len(texts), CHUNK):
        chunk = list(texts[start : start + CHUNK])
        words = not isinstance(chunk[0], str)
        yield from tokenizer.encode_batch(chunk, is_pretokenized=words, add_special_tokens=special)


@dataclass(frozen=True, slots=True)
class PairTemplate:
    """Special tokens around two texts, as in `[CLS] a [SEP] b [SEP]`: ids before, between and after, and the segment of each part.

    `types` are the segments of: before, first text, between, second text, after. A part's tokens share one segment.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    types: tuple[tuple[int, ...], int, tuple[int, ...], int, tuple[int, ...]]

    @property
    def special_tokens(self) -> int:
        return len(self.before) + len(self.between) + len(self.after)


def pair_template(tokenizer: Tokenizer, first: str, second: str) -> PairTemplate:
    """Template of `tokenizer`, found by encoding a pair. Raises DataError where a text leaves no token or the order is another."""
    encoding = tokenizer.encode(first, second)
    owners, ids, types = encoding.sequence_ids, encoding.ids, encoding.type_ids
    places = [[place for place, owner in enumerate(owners) if owner == side] for side in (0, 1)]
    if not all(places) or places[0][-1] > places[1][0]:
        raise DataError(
            f"the tokenizer does not encode {first!r} and {second!r} as a pair, first before second",
            "Use a model whose tokenizer encodes question and context as one input.",
        )
    cuts = (slice(0, places[0][0]), slice(places[0][-1] + 1, places[1][0]), slice(places[1][-1] + 1, len(ids)))
    before, between, after = (tuple(ids[cut]) for cut in cuts)
    outer = [tuple(types[cut]) for cut in cuts]
    return PairTemplate(before, between, after, (outer[0], types[places[0][0]], outer[1], types[places[1][0]], outer[2]))
