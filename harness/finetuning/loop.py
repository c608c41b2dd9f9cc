"""The training loop of `finetune`: batches by length, one-cycle rate, AdamW, and checkpoints from which the same end state is reached.

Nothing in it is random but the order of the examples, which is made from seed and epoch: dropout is off, so weights, optimiser state and
the number of steps are the whole state.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.batching import Policy, collate
from harness.core import Int64, IntArray, Samples
from harness.errors import RunError
from harness.finetuning.checkpoint import Checkpoint

POOL = 32
"""Batches' worth of shuffled examples that are sorted by length together: large enough for little padding, small enough that a batch
still is a draw from all of the data."""

WARMUP = 0.06
"""Share of the steps in which the rate rises (RoBERTa's fine-tuning on GLUE, Liu et al. 2019, table 10)."""

WEIGHT_DECAY = 0.01
CLIP = 1.0
"""Largest norm of the gradient of all trained weights together."""

_MOMENTS = ("exp_avg", "exp_avg_sq")
"""State of AdamW for each weight, as PyTorch names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to train. `max_steps` stops earlier than `epochs` does; the rate still follows the plan of all epochs. `rate` is its peak."""

    epochs: int
    rate: float
    batch: int
    seed: int = 0
    max_steps: int | None = None
    precision: Literal["bf16", "fp32"] = "bf16"

    def steps(self, examples: int) -> int:
        """Steps that the rate is planned over."""
        return self.epochs * math.ceil(examples / self.batch)

    def last(self, examples: int) -> int:
        """Steps that are made."""
        return min(self.steps(examples), self.max_steps or self.steps(examples))


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Tokenised examples and what is to come out: (samples,) int64 classes, (samples,) float32 values, or (samples, 2) int64 first and
    last token of the answer."""

    samples: Samples
    targets: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where training stands: `step` of `steps` done, mean `loss` of the last steps (at most 20), seconds in this process for
    `timed` of the steps."""

    step: int
    steps: int
    loss: float
    elapsed_s: float
    timed: int


def batches(lengths: IntArray, size: int, seed: int, epoch: int) -> list[Int64]:
    """Every example once, in batches of `size` (the last of the epoch's examples may make a smaller one) of similar length.

    Examples are shuffled, sorted by length within pools of `POOL` batches, cut, and the batches are shuffled. The order is a function of
    the arguments alone.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths))
    made: list[Int64] = []
    for start in range(0, len(order), POOL * size):
        pool = order[start : start + POOL * size]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        made += [pool[first : first + size] for first in range(0, len(pool), size)]
    return [made[number] for number in generator.permutation(len(made))]


def rate_at(step: int, steps: int, peak: float) -> float:
    """Rate of step number `step`, from 0, of `steps`: it rises linearly to `peak` over the first 6 % and falls linearly to 0 behind the
    last step."""
    rising = max(1, round(WARMUP * steps))
    if step < rising:
        return peak * (step + 1) / rising
    return peak * (steps - step) / (steps - rising)


def loss_of(outputs: Any, targets: Any) -> Any:
    """Mean loss of a batch in float32: cross-entropy for classes and for both ends of spans, squared error for values (Devlin et al. 2019,
    section 4; padding takes part in the softmax of spans, as in the original BERT)."""
    from torch.nn import functional

    if "start_logits" in outputs:
        ends = zip((outputs["start_logits"], outputs["end_logits"]), targets.T, strict=True)
        first, last = (functional.cross_entropy(logits.float(), target) for logits, target in ends)
        return (first + last) / 2
    logits = outputs["logits"].float()
    if targets.is_floating_point():
        return functional.mse_loss(logits.squeeze(-1), targets)
    return functional.cross_entropy(logits, targets)


class Trainer:
    """One training: `model` (a module of PyTorch whose trained parameters require a gradient, on `device`) and its optimiser.

    `inputs` are the names of the arrays of a batch that the model takes.
    """

    def __init__(self, model: Any, inputs: Sequence[str], data: TrainingSet, recipe: Recipe, device: str = "cpu") -> None:
        import torch

        self.model, self.inputs, self.data, self.recipe, self.device = model, inputs, data, recipe, device
        self.steps, self.last = recipe.steps(len(data.samples)), recipe.last(len(data.samples))
        self.parameters = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self.optimizer = torch.optim.AdamW(self.parameters.values(), lr=recipe.rate, weight_decay=WEIGHT_DECAY)
        self.losses: list[float] = []
        self.step = 0
        self._epoch: tuple[int, list[Int64]] = (-1, [])
        model.eval()  # no dropout

    def run(self, checkpoint: Checkpoint, every: int, report: Callable[[Progress], None]) -> None:
        """All steps that are left, from the checkpoint if there is one, with a checkpoint each `every` steps and at the end.

        `report` is called after each step. Raises RunError where the loss is not finite, and what `Checkpoint` raises.
        """
        self._resume(checkpoint)
        began, started = self.step, time.monotonic()
        while self.step < self.last:
            self.losses.append(self._one_step())
            self.step += 1
            if self.step % every == 0 or self.step == self.last:
                checkpoint.save(self.step, self._state())
            recent = self.losses[-20:]
            report(Progress(self.step, self.last, sum(recent) / len(recent), time.monotonic() - started, self.step - began))

    def _one_step(self) -> float:
        import torch

        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.step, self.steps, self.recipe.rate)
        picked = self._batch()
        batch = collate(self.data.samples, picked, Policy())
        arrays = {name: torch.from_numpy(getattr(batch, name)).to(self.device) for name in self.inputs}
        targets = torch.from_numpy(self.data.targets[picked]).to(self.device)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            outputs = self.model(**arrays)
        loss = loss_of(outputs, targets)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise RunError(f"the loss of step {self.step + 1} is {value}", "Give a lower --rate, and another --out.")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), CLIP)
        self.optimizer.step()
        return value

    def _batch(self) -> Int64:
        """Samples of the next step."""
        recipe = self.recipe
        epoch, number = divmod(self.step, math.ceil(len(self.data.samples) / recipe.batch))
        if self._epoch[0] != epoch:
            self._epoch = (epoch, batches(self.data.samples.lengths, recipe.batch, recipe.seed, epoch))
        return self._epoch[1][number]

    def _state(self) -> dict[str, NDArray[Any]]:
        tensors = {"losses": np.array(self.losses, np.float64)}
        for name, weight in self.parameters.items():
            tensors[f"weight.{name}"] = weight.detach().cpu().numpy()
            if moments := self.optimizer.state.get(weight):  # none for a weight that took no part
                tensors |= {f"{key}.{name}": moments[key].cpu().numpy() for key in _MOMENTS}
        return tensors

    def _resume(self, checkpoint: Checkpoint) -> None:
        import torch

        kept = checkpoint.load()
        if kept is None:
            return
        self.step, tensors = kept
        self.losses = tensors["losses"].tolist()
        with torch.no_grad():
            for name, weight in self.parameters.items():
                weight.copy_(torch.tensor(tensors[f"weight.{name}"]))
                if f"{_MOMENTS[0]}.{name}" in tensors:
                    moments = {key: torch.tensor(tensors[f"{key}.{name}"]).to(self.device) for key in _MOMENTS}
                    self.optimizer.state[weight] = {"step": torch.tensor(float(self.step)), **moments}
