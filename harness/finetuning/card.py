"""The model card that `finetune` writes, and the record of what was done that stands beside it as finetune.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.downloads import BASE_REPO
from harness.finetuning.loop import CLIP, WARMUP, WEIGHT_DECAY, Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was trained, on what, and how it scores. No time and no path: the same training gives the same record.

    `key` is that of the training, `loss` the mean loss of the last steps, `before` and `after` the dev scores (empty without a dev file),
    `sha256` that of model.safetensors.
    """

    key: str
    task: str
    base: str
    base_sha256: str
    head: str
    labels: tuple[str, ...]
    train_file: str
    train_samples: int
    dev: str
    recipe: Recipe
    max_length: int
    rank: int
    alpha: int
    trained_weights: int
    all_weights: int
    steps: int
    loss: float
    metric: str = ""
    before: Mapping[str, float] = field(default_factory=dict)
    after: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    sha256: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def card(record: Record, command: str) -> str:
    """README.md of the model's folder. `command` is the line that makes the model again."""
    lora = f"LoRA of rank {record.rank}, alpha {record.alpha}, in the linear layers of the encoder; the head is trained whole"
    return f"""# {record.task}, fine-tuned from {record.base}

{_outputs(record)} Made by `assay finetune`.

```sh
{command}
```

## Scores

{_scores(record)}

## Recipe

| | |
|---|---|
| base | {record.base}, sha256 of weights and configuration `{record.base_sha256}` |
| trained | {lora if record.rank else "all weights"}: {record.trained_weights:,} of {record.all_weights:,} |
| data | {record.train_file}: {record.train_samples:,} samples of up to {record.max_length} tokens |
| epochs, batch | {record.recipe.epochs}, {record.recipe.batch} |
| steps | {record.steps:,}{_stopped(record)} |
| rate | peak {record.recipe.rate:g}, linear: up over the first {WARMUP:.0%} of the planned steps, down to 0 |
| optimiser | AdamW, weight decay {WEIGHT_DECAY:g}, gradients clipped to norm {CLIP:g}, dropout off |
| arithmetic | {"BF16 autocast, FP32 weights" if record.recipe.precision == "bf16" else "FP32"} |
| seed | {record.recipe.seed} |
| mean loss of the last steps | {record.loss:.4f} |
| made with | {", ".join(f"{name} {version}" for name, version in record.versions.items())} |

## Licence

{_licence(record)}
"""


def _outputs(record: Record) -> str:
    if record.head == "question-answering":
        return "Start and end logits for each token: the answer to a question, as a span of its context."
    if len(record.labels) == 1:
        return "One output: a value."
    return f"Outputs: {', '.join(f'{number} {label}' for number, label in enumerate(record.labels))}."


def _scores(record: Record) -> str:
    """A table of all metrics; the primary one first."""
    if not record.after:
        return "Not scored: there was no dev file."
    names = sorted((name for name in record.after if name != "examples"), key=lambda name: (name != record.metric, name))
    rows = [f"| {name} | {record.before.get(name, float('nan')):.3f} | {record.after[name]:.3f} |" for name in names]
    counts = f"| examples | {record.before.get('examples', 0):,.0f} | {record.after.get('examples', 0):,.0f} |"
    note = "Dev set: " + record.dev + ". FP32, in points. Before: the base with a head that is not trained."
    return "\n".join([note, "", "| metric | before | after |", "|---|---|---|", *rows, counts])


def _stopped(record: Record) -> str:
    planned = record.recipe.steps(record.train_samples)
    return f" of {planned:,} planned" if record.steps < planned else ""


def _licence(record: Record) -> str:
    base = f"The base {BASE_REPO} is under Apache-2.0." if record.base == BASE_REPO else f"The terms of {record.base} hold."
    return f"{base} Those of the training data ({record.train_file}) may limit its use: look at them before you share the model."
