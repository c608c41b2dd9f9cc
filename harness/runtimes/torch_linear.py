"""Linear layers for CPU inference: weights in oneDNN's own order, one product for query, key and value, the activation in the product.

A linear layer of PyTorch brings its weights into the order the kernel wants on every call. Here it is done once, with the operators that
inductor's freezing uses; they are private to PyTorch, so they are tried first and left alone where they are missing or fail.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

PROJECTIONS = (("query", "key", "value"), ("q_lin", "k_lin", "v_lin"))
"""Names of the three projections of one attention: BERT and its kin, DistilBERT."""

ACTIVATED = (("dense", "intermediate_act_fn"), ("lin1", "activation"), ("ffn", "activation"))
"""The first feed-forward product and what follows it at once: BERT and its kin, DistilBERT, ALBERT."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was done to a model: linear layers with prepared weights, attentions with one product for three, activations in a product."""

    linears: int = 0
    joint_projections: int = 0
    fused_activations: int = 0


class PreparedLinear(nn.Module):
    """A linear layer whose weights are in oneDNN's order; input of any floating type, output of `dtype`."""

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.activation, self.algorithm = "none", ""
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach().to(dtype))
        self.bias = None if linear.bias is None else linear.bias.detach().to(dtype)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(..., in) to (..., out)."""
        made: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            inputs.to(self.dtype), self.weight, self.bias, self.activation, [], self.algorithm
        )
        return made


class JointProjection(nn.Module):
    """Several linear layers of one input as one product; each part asks for its own columns, the product is made for the first of them."""

    def __init__(self, linears: list[nn.Linear]) -> None:
        super().__init__()
        self.widths = [each.out_features for each in linears]
        self.linear: nn.Module = joined(linears)
        self._inputs: torch.Tensor | None = None
        self._made: dict[int, torch.Tensor] = {}

    def part(self, inputs: torch.Tensor, number: int) -> torch.Tensor:
        """(..., in) to (..., out of this part). Parts of the same tensor share one product; nothing is kept when all have been taken."""
        if inputs is not self._inputs or number not in self._made:
            self._inputs = inputs
            self._made = dict(enumerate(self.linear(inputs).split(self.widths, dim=-1)))
        taken = self._made.pop(number)
        if not self._made:
            self._inputs = None
        return taken


class ProjectionPart(nn.Module):
    """Stands where one of the joined layers was."""

    def __init__(self, joint: JointProjection, number: int) -> None:
        super().__init__()
        self.joint, self.number = joint, number

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.joint.part(inputs, self.number)


def joined(linears: list[nn.Linear]) -> nn.Linear:
    """One layer with the outputs of all, in order; the result of each output is what its own layer gives."""
    first = linears[0]
    made = nn.Linear(first.in_features, sum(each.out_features for each in linears), bias=first.bias is not None)
    made.weight = nn.Parameter(torch.cat([each.weight.detach() for each in linears]), requires_grad=False)
    if first.bias is not None:
        made.bias = nn.Parameter(torch.cat([each.bias.detach() for each in linears]), requires_grad=False)
    return made.eval()


def join_projections(body: nn.Module) -> int:
    """Replace query, key and value layers by one product each; how many attentions were changed."""
    changed = 0
    for module in list(body.modules()):
        for names in PROJECTIONS:
            linears = [getattr(module, name, None) for name in names]
            if all(isinstance(each, nn.Linear) for each in linears) and _alike(linears):  # type: ignore[arg-type]
                joint = JointProjection(linears)  # type: ignore[arg-type]
                for number, name in enumerate(names):
                    setattr(module, name, ProjectionPart(joint, number))
                changed += 1
    return changed


def _alike(linears: list[nn.Linear]) -> bool:
    """Whether they can have one input and one product."""
    return len({(each.in_features, each.bias is None, each.weight.dtype) for each in linears}) == 1


def replace_linears(body: nn.Module, make: type[nn.Module], *settings: object) -> int:
    """Put `make(linear, *settings)` where each linear layer is; a layer that is used twice is made once. How many were replaced."""
    made: dict[int, nn.Module] = {}
    for module in list(body.modules()):
        for name, child in list(module._modules.items()):  # named_children leaves a module out that it has shown
            if type(child) is nn.Linear:
                if id(child) not in made:
                    made[id(child)] = make(child, *settings)
                setattr(module, name, made[id(child)])
    return len(made)


def fuse_activations(body: nn.Module) -> int:
    """Let the prepared products apply the activation behind them; how many do."""
    fused = 0
    for module in list(body.modules()):
        for linear_name, activation_name in ACTIVATED:
            linear, following = getattr(module, linear_name, None), getattr(module, activation_name, None)
            known = _activation(following)
            if isinstance(linear, PreparedLinear) and known and linear.activation == "none":
                linear.activation, linear.algorithm = known
                setattr(module, activation_name, nn.Identity())
                fused += 1
    return fused


def _activation(module: object) -> tuple[str, str] | None:
    """oneDNN's name and algorithm of an activation, None for one that is not known exactly. Types are compared by name: transformers has
    classes of its own for the same functions."""
    if isinstance(module, nn.GELU):
        return "gelu", module.approximate
    known = {"GELUActivation": ("gelu", "none"), "NewGELUActivation": ("gelu", "tanh"), "GELUTanh": ("gelu", "tanh"), "ReLU": ("relu", "")}
    return known.get(type(module).__name__)


def can_prepare(dtype: torch.dtype) -> bool:
    """Whether this build of PyTorch and this CPU have the prepared products for `dtype`: one small product is made and looked at."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    trial = nn.Linear(16, 16)
    inputs = torch.ones(2, 16)
    try:
        made = PreparedLinear(trial, dtype)(inputs)
    except (AttributeError, RuntimeError, NotImplementedError):
        return False
    return made.dtype is dtype and torch.allclose(made.float(), trial(inputs), atol=0.05)


def prepare(body: nn.Module, dtype: torch.dtype) -> Prepared:
    """Change all linear layers of `body` in place to prepared ones of `dtype`. Nothing is done where `can_prepare` says no."""
    if not can_prepare(dtype):
        return Prepared()
    joint = join_projections(body)
    linears = replace_linears(body, PreparedLinear, dtype)
    return Prepared(linears, joint, fuse_activations(body))
