"""What a round of `ci check` hands on of its comparison."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from harness.ci import measuring
from harness.comparing import session
from harness.comparing.blocks import Plan
from harness.comparing.results import THROUGHPUT, Comparison
from harness.comparing.session import Compared
from harness.progress import Silent

COMMITS = "head ran in another environment than base: commit b against a"


@pytest.mark.parametrize(
    ("difference", "told"), [(COMMITS, []), (f"{COMMITS}; torch 2.2 against 2.1", [f"{COMMITS}; torch 2.2 against 2.1"])]
)
def test_environments_that_differ_in_more_than_the_commit_are_said(
    difference: str, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slowdown beside another library is not the commit's alone; what qualifies every figure is said as well."""
    found = Compared(Comparison((), 0, (THROUGHPUT,), ()), ["the budget ended it"], differences=(difference,), marks=("quick rules",))

    def run(_pair: Sequence[Any], *_rest: Any) -> Compared:
        return found

    monkeypatch.setattr(session, "run", run)
    rounds = measuring.Rounds({"squad": ()}, Plan(), Silent())
    assert rounds.measure(SimpleNamespace(name="squad"), 0).warnings == ["quick rules", "the budget ended it", *told]  # type: ignore[arg-type]
    assert rounds.measure(SimpleNamespace(name="squad"), 1).warnings == ["the budget ended it", *told]  # type: ignore[arg-type]
