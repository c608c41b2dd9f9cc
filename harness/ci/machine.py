"""The machine that a check ran on, in one line, and its noise."""

from __future__ import annotations

from collections.abc import Iterable

from harness import conditions, models
from harness.comparing import noise


def described() -> str:
    """ "Xeon Platinum 8481C, 2 cores"; GPUs where there are any."""
    cpu = conditions.cpu()
    gpus = [str(each.get("name")) for each in conditions.gpus()]
    return ", ".join([str(cpu["model"] or "unknown processor"), f"{cpu['usable_cores']} cores", *gpus])


def floors(scenarios: Iterable[str]) -> dict[str, float]:
    """The noise floor of each scenario, of those that `noise` measured here; shares."""
    found = {scenario: noise.known(models.default_cache(), scenario) for scenario in sorted(set(scenarios))}
    return {scenario: floor.share for scenario, floor in found.items() if floor is not None}
