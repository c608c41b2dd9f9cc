"""torch.compile: the whole model as one graph, compiled while loading and never again."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from harness.errors import BackendError, MissingError

Call = Callable[[int, int], Any]
"""Answers a made-up batch of (rows, length)."""


class Compiled:
    """A model behind inductor, dynamic in rows and length. A graph break raises instead of running in pieces, and each graph is counted.

    On a CPU weights are frozen into the graph, where inductor brings them into oneDNN's order.
    """

    def __init__(self, model: nn.Module, device: torch.device, per_token: bool) -> None:
        """`per_token`: its outputs are (rows, length)."""
        self.per_token = per_token
        self.freezing = device.type == "cpu"
        self.graphs = 0
        self.shapes: Sequence[tuple[int, int]] = ()
        self.model = torch.compile(model, backend=self._inductor, fullgraph=True, dynamic=True)

    def _inductor(self, graph: Any, inputs: Any) -> Any:
        from torch._inductor.compile_fx import compile_fx

        self.graphs += 1
        return compile_fx(graph, inputs)

    def __call__(self, **inputs: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """Outputs by name. A length of 1 would be a graph of its own: it is computed as 2, the second token masked."""
        if inputs["input_ids"].shape[1] > 1:
            found: Mapping[str, torch.Tensor] = self.model(**inputs)
            return found
        widened = self.model(**{name: nn.functional.pad(values, (0, 1)) for name, values in inputs.items()})
        return {name: values[:, :1] if self.per_token else values for name, values in widened.items()}

    def compile_now(self, call: Call, longest: int) -> dict[str, Any]:
        """Compile for one row and for several, calling with both; the facts. Raises MissingError where there is no compiler, BackendError
        where the model breaks the graph or an ordinary shape would compile again."""
        _guarded(call, [(1, 24), (5, 32), (4, 16), (2, longest)], self._frozen())  # equal numbers would be taken for one dimension
        made = self.graphs
        _guarded(call, [(3, longest), (1, 16), (7, 24)], self._frozen())
        if self.graphs > made:
            raise BackendError("+compile: each new shape compiles anew", "Leave +compile out: this model has no dynamic graph.")
        return {"backend": "inductor", "graphs": made, "graph_breaks": 0, "frozen": self.freezing}

    def _frozen(self) -> AbstractContextManager[Any]:
        """A switch of the process, because dynamo looks at it as well as inductor."""
        if not self.freezing:
            return nullcontext()
        import torch._inductor.config as config

        patched: AbstractContextManager[Any] = config.patch(freezing=True)
        return patched


def _guarded(call: Call, shapes: Sequence[tuple[int, int]], around: AbstractContextManager[Any]) -> None:
    import torch._dynamo.exc as failures
    from torch._inductor.exc import InductorError

    cure = "Leave +compile out."
    try:
        with around, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # inductor's own, about parts of PyTorch that it uses
            for rows, length in shapes:
                call(rows, length)
    except failures.Unsupported as error:
        raise BackendError(f"+compile: the model breaks the graph: {_told(error)}", cure) from error
    except (failures.BackendCompilerFailed, InductorError) as error:
        if "compiler" in str(error).lower():
            cure = "Install a C++ compiler (on Debian and Ubuntu: apt install g++), or leave +compile out."
            raise MissingError(f"+compile: {_told(error)}", cure) from error
        raise BackendError(f"+compile: {_told(error)}", cure) from error
    except RuntimeError as error:
        raise BackendError(f"+compile: {_told(error)}", cure) from error


def _told(error: Exception) -> str:
    """The first two lines: dynamo's first says only who raised."""
    return " ".join(line.strip() for line in str(error).strip().splitlines()[:2])[:300]
