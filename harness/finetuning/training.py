"""`finetune` from data to a model folder: training with checkpoints, the merged model, scores before and after, the model card.

The folder holds `checkpoint.safetensors` while work goes on. `finetune.json` is written last, so its presence means complete. Running the
same command again goes on from the checkpoint, or finds everything done; the end state is the same.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.cached import disk_problem, sha256_of
from harness.errors import DataError, Interrupted, MissingError, UsageError
from harness.finetuning import card as finetune_card
from harness.finetuning import data as finetune_data
from harness.finetuning import score as finetune_score
from harness.finetuning.card import Record
from harness.finetuning.checkpoint import Checkpoint, write_whole
from harness.finetuning.data import Prepared, Source
from harness.finetuning.loop import Progress, Recipe, Trainer
from harness.finetuning.model import Base, Shape, build, find_base, trained, write_model
from harness.progress import Progress as Screen
from harness.progress import Snapshot

FORMAT = 1
"""Version of what is trained and how; a new one makes old checkpoints those of another training. 1: first."""

RECORD = "finetune.json"
CHECKPOINT = "checkpoint.safetensors"
CHECKPOINT_EVERY = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked for. `rank` 0 trains all weights; `threads` None leaves the number of CPU threads to PyTorch; `command` is the line
    that asked, for the model card."""

    task: str
    data: Path
    out: Path
    recipe: Recipe
    base: str = "embedded"
    rank: int = 16
    alpha: int = 32
    max_length: int | None = None
    checkpoint_every: int = CHECKPOINT_EVERY
    threads: int | None = None
    flags: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""


@dataclass(frozen=True, slots=True)
class Finished:
    """`record` of the model in `folder`; `before_this` if it was there already."""

    record: dict[str, Any]
    folder: Path
    before_this: bool = False


@dataclass(frozen=True, slots=True)
class _Work:
    request: Request
    source: Source
    base: Base
    prepared: Prepared
    shape: Shape
    device: str
    screen: Screen

    @property
    def key(self) -> str:
        """sha256 over all that decides what comes out, but the machine and the versions of libraries."""
        shape, recipe, prepared = self.shape, self.request.recipe, self.prepared
        parts = [self.base.sha256, prepared.key, prepared.max_length, shape.head, shape.labels, shape.rank, shape.alpha]
        parts += [recipe.epochs, recipe.rate, recipe.batch, recipe.seed, recipe.max_steps, recipe.precision]
        return hashlib.sha256(json.dumps([FORMAT, *parts]).encode()).hexdigest()


def finetune(request: Request, *, cache: Path, offline: bool, screen: Screen) -> Finished:
    """Train, score and write the model; what an earlier call has done is not done again.

    Raises UsageError for settings that do not fit and for a folder that holds something else, MissingError and DataError for data, base
    and libraries, RunError where training diverges, and Interrupted after Ctrl-C, with the last checkpoint kept.
    """
    checkpoint = request.out / CHECKPOINT
    with _interruptible(checkpoint):
        work = _prepared(request, cache, offline, screen)
        done = _done(request.out, work.key)
        if done is not None:
            checkpoint.unlink(missing_ok=True)
            return Finished(done, request.out, before_this=True)
        _make_folder(request.out)
        for line in finetune_data.lines(work.prepared):
            screen.note(line)
        record = _scored(work, _trained(work, Checkpoint(checkpoint, work.key)))
        write_whole(request.out / "README.md", finetune_card.card(record, request.command).encode())
        write_whole(request.out / RECORD, (json.dumps(record.as_json(), indent=1, ensure_ascii=False) + "\n").encode())
        checkpoint.unlink(missing_ok=True)
        return Finished(json.loads((request.out / RECORD).read_text(encoding="utf-8")), request.out)


@contextmanager
def _interruptible(checkpoint: Path) -> Iterator[None]:
    """Ctrl-C becomes the error that says how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        kept = f"the last checkpoint is kept in {checkpoint}" if checkpoint.exists() else "there is no checkpoint yet"
        raise Interrupted(f"finetune was interrupted; {kept}", "Run the same command again to go on.") from None


def _prepared(request: Request, cache: Path, offline: bool, screen: Screen) -> _Work:
    import torch

    if request.threads is not None:
        torch.set_num_threads(request.threads)
    source = finetune_data.find(request.task, request.data, request.flags)
    base = find_base(request.base, cache=cache, offline=offline, say=screen.note)
    screen.phase(f"reading {source.train.name}")
    prepared = finetune_data.prepare(source, base.folder, request.max_length)
    shape = Shape(prepared.head, prepared.labels, request.rank, request.alpha)
    return _Work(request, source, base, prepared, shape, "cuda" if torch.cuda.is_available() else "cpu", screen)


def _done(folder: Path, key: str) -> dict[str, Any] | None:
    """The record of a finished training, None where there is none. Raises UsageError for that of another training and DataError where the
    model is not what its record says."""
    path = folder / RECORD
    if not path.exists():
        return None
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        same, sha256 = record["key"] == key, sha256_of(folder / "model.safetensors")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: the model is damaged ({error})", f"Delete {folder} and run the same command again.") from error
    if not same:
        cure = "Give another --out, or the same settings as before, or delete the folder."
        raise UsageError(f"--out: {folder} holds a model of another base, other data or another recipe", cure)
    if sha256 != record.get("sha256"):
        raise DataError(f"{folder / 'model.safetensors'}: is not what {RECORD} says", f"Delete {folder} and run the same command again.")
    return record


def _make_folder(folder: Path) -> None:
    """Raises UsageError for a folder that holds other things than a training leaves behind."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise MissingError(f"--out: {folder}: {disk_problem(error) or error.strerror}", "Give a folder that can be written.") from error
    if names and CHECKPOINT not in names and not all(name.startswith(f".{CHECKPOINT}") for name in names):
        raise UsageError(f"--out: {folder} holds other files ({', '.join(sorted(names)[:3])})", "Give a new folder.")


# ------------------------------------------------------------------------------------------------------------------------ phases


def _trained(work: _Work, checkpoint: Checkpoint) -> Record:
    """Train to the end and write the model; its record, without scores."""
    request, prepared, recipe = work.request, work.prepared, work.request.recipe
    net = build(work.base, work.shape, recipe.seed, work.device)
    trainer = Trainer(net.module, net.inputs, prepared.data, recipe, work.device)
    work.screen.phase(f"training, {trainer.last:,} steps on {work.device}")
    trainer.run(checkpoint, request.checkpoint_every, _shown(work.screen))
    write_model(net, work.base, work.shape, request.out)
    recent = trainer.losses[-100:]
    some, all_weights = trained(net)
    return Record(
        key=work.key,
        task=work.source.name,
        base=work.base.name,
        base_sha256=hashlib.sha256(work.base.sha256.encode()).hexdigest(),
        head=work.shape.head,
        labels=work.shape.labels,
        train_file=prepared.data_name,
        train_samples=len(prepared.data.samples),
        dev="",
        recipe=recipe,
        max_length=prepared.max_length,
        rank=work.shape.rank,
        alpha=work.shape.alpha,
        trained_weights=some,
        all_weights=all_weights,
        steps=trainer.step,
        loss=sum(recent) / len(recent),
        versions=_versions(work.shape),
        sha256=sha256_of(request.out / "model.safetensors"),
    )


def _scored(work: _Work, record: Record) -> Record:
    """`record` with the dev scores of the base and of the model as it lies on disk."""
    out = work.request.out
    task = finetune_data.dev_task(work.source, out, work.shape.labels, work.prepared.max_length)
    if task is None:
        work.screen.note("no dev file: the model is not scored")
        return record

    def scores(base: Base, title: str, rank: int, seen: Any) -> dict[str, float]:
        work.screen.phase(title)
        net = build(base, replace(work.shape, rank=rank), work.request.recipe.seed, work.device)
        return finetune_score.score(task, net.module, net.inputs, work.device, seen, _counted(work.screen, title, len(seen)))

    before = scores(work.base, "scoring the base", work.shape.rank, finetune_score.some(task))
    after = scores(Base(work.base.name, out, ""), "scoring the model", 0, finetune_score.every(task))
    return replace(record, dev=task.data_name, metric=task.metric, before=before, after=after)


def _versions(shape: Shape) -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "transformers", *(("peft",) if shape.rank else ()))}


# ------------------------------------------------------------------------------------------------------------------------ screen


def _shown(screen: Screen) -> Callable[[Progress], None]:
    def show(at: Progress) -> None:
        left = (at.steps - at.step) * at.elapsed_s / at.timed
        extra = f"step {at.step:,} of {at.steps:,} · loss {at.loss:.4f}"
        screen.update(Snapshot("train", at.elapsed_s, planned_s=at.elapsed_s + left, extra=extra))

    return show


def _counted(screen: Screen, title: str, of: int) -> Callable[[int], None]:
    began = time.monotonic()

    def show(count: int) -> None:
        elapsed = time.monotonic() - began
        screen.update(Snapshot(title, elapsed, planned_s=elapsed * of / count, samples_done=count))

    return show
