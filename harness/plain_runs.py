"""What a comparison and a sweep are made of: performance runs of one task by the native engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import card, units
from harness.config import SUITES, RunConfig
from harness.errors import UsageError


def plain(config: RunConfig, said: str) -> RunConfig:
    """The settings, if they are those of such a run. `said`: what cannot be done with others, behind the name of the setting. Raises
    UsageError for LoadGen's modes and for what is no single task."""
    if config.task in SUITES:
        raise UsageError(f"--task {config.task} {said}", "give one of its tasks, such as --task sst2")
    refused = {
        f"--mode {config.mode}": config.mode != "performance",
        f"--engine {config.engine}": config.engine != "native",
        f"--find-peak {config.find_peak}": config.find_peak != "none",
        "--traffic": config.traffic is not None,
    }
    if wrong := next((name for name, is_given in refused.items() if is_given), None):
        raise UsageError(f"{wrong} {said}", "leave it out")
    return config


def marks(settings: Mapping[str, Any]) -> list[str]:
    """Why the figures compare with nothing else, as on the card of a run. `settings`: resolved ones that hold for all."""
    said = [f"{settings['rules']} rules", card.UNVERIFIED]
    if not settings["accuracy"]:
        said.append("accuracy not checked")
    if settings["accuracy_target"] != RunConfig.model_fields["accuracy_target"].default:
        said.append(f"accuracy target {units.share(settings['accuracy_target'])} of FP32")
    if settings["accuracy_samples"] is not None:
        said.append(f"accuracy on {units.plural(settings['accuracy_samples'], 'example')} only")
    return said
