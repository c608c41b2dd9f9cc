"""pytest plugin of Assay: the fixture `assay`, with which a project measures its own model in its own tests.

pytest imports this file in every run where Assay is installed, so it imports nothing of Assay: that, and the folder that Assay puts on the
import path, are for tests that use the fixture. A module of its own, because importing anything below `assay` would be both.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.ci.pytest_benchmark import Rounds
    from harness.ci.pytest_fixture import Assay


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("assay")
    group.addoption("--assay-skip", action="store_true", help="skip tests that use the fixture `assay`")
    group.addoption("--assay-record", metavar="DB", help="record runs of the fixture `assay` in this history (assay history --db DB)")


@pytest.fixture
def assay(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Assay:
    """Measure and claim: `assay.run(...)`, `assay.assert_faster(...)`, `assay.assert_no_regression(...)`."""
    if request.config.getoption("--assay-skip"):
        pytest.skip("--assay-skip")
    if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1:
        pytest.skip("nothing is measured beside other pytest-xdist workers: they would disturb it; run these tests with -n 0")
    importlib.import_module("assay")  # puts Assay's folder on the import path
    from harness.ci.pytest_fixture import Assay

    given = request.config.getoption("--assay-record")
    history = request.config.invocation_params.dir / given if given else None

    def table(label: str, rounds: Rounds, extra: Mapping[str, Any]) -> None:
        _show(request, label, rounds, extra)

    return Assay(tmp_path_factory.mktemp("assay"), history, pytest.skip, table)


def _show(request: pytest.FixtureRequest, label: str, rounds: Rounds, extra: Mapping[str, Any]) -> None:
    """A row in pytest-benchmark's table, where that plugin is active and not disabled."""
    session = getattr(request.config, "_benchmarksession", None)
    if session is None or session.disabled or session.skip:
        return
    stats: Any = importlib.import_module("pytest_benchmark.stats")
    made = stats.Metadata(_Row(request.node, label, dict(extra)), iterations=rounds.iterations, options={"timer": "assay"})
    for seconds in rounds.seconds.tolist():
        made.update(seconds * rounds.iterations)
    session.benchmarks.append(made)


class _Row:
    """What pytest-benchmark asks of the fixture behind a row."""

    group = None
    cprofile_stats = None
    has_error = False

    def __init__(self, node: pytest.Item, label: str, extra: dict[str, Any]) -> None:
        self.name, self.fullname = f"{node.name}[{label}]", f"{node.nodeid}[{label}]"
        parameters = getattr(node, "callspec", None)
        self.param = parameters.id if parameters is not None else None
        self.params = parameters.params if parameters is not None else None
        self.extra_info = extra
