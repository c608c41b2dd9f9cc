"""The documentation pages: their examples run, their links lead somewhere, and their tables say what the code says."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness import session, store
from harness.cli import VERBS
from harness.config import DATA_VARIABLE, FIELDS, RunConfig, choices, flag, load
from harness.core import Accuracy, EarlyStopping, Paired, Reason
from harness.errors import EXIT_CODE_MEANING, ExitCode
from harness.flags import Parser
from harness.steady import Steady
from harness.summary import AtLength
from harness.tournament import Candidate, Trial
from harness.tournament_words import Finding, facts
from tests import example_runs

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
LINKED = [*PAGES, *(file for file in [ROOT / "README.md"] if file.is_file())]
COMMAND_LINE, RESULTS = ROOT / "docs" / "command-line.md", ROOT / "docs" / "results.md"

_BLOCK = re.compile(r"^```(\w+)[ ]*([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_PROGRAM = re.compile(r"^(?:\$ )?(?:assay|python run_bench\.py|python -m assay)(?= |$)")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: `info` is what follows the language, `line` where its text begins (0-based)."""

    page: Path
    line: int
    info: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line + 1}"


def blocks(page: Path, language: str) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        if match[1] == language:
            yield Block(page, text.count("\n", 0, match.start(3)), match[2].strip(), match[3])


def table_rows(text: str) -> list[list[str]]:
    """Cells of all table rows in a text, header and ruler among them."""
    lines = (line.strip() for line in text.splitlines() if line.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def section(page: Path, title: str) -> str:
    """Text under a heading of level 2."""
    return page.read_text(encoding="utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples write files, and must find neither data nor a cache of this machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def null_run(tmp_path_factory: pytest.TempPathFactory) -> session.Finished:
    out = tmp_path_factory.mktemp("null")
    return session.run(load({"backend": "null", "scenario": "server", "duration": 0.1, "target_qps": 500.0, "out": str(out)}))


# --------------------------------------------------------------------------------------------------------------------- examples


@pytest.mark.parametrize("page", [page for page in PAGES if any(blocks(page, "python"))], ids=lambda page: page.name)
def test_python_examples_run(page: Path) -> None:
    """Blocks of a page run in order in one namespace; `file=NAME` is written instead, `no-run` is skipped."""
    namespace: dict[str, Any] = {"__name__": page.stem}
    for block in blocks(page, "python"):
        if block.info == "no-run":
            continue
        if block.info.startswith("file="):
            Path(block.info.removeprefix("file=")).write_text(block.text, encoding="utf-8")
            continue
        assert not block.info, f"{block}: what is {block.info}?"
        exec(compile("\n" * block.line + block.text, page.name, "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_configurations_load(page: Path) -> None:
    """Each YAML block is a file of settings that the program accepts."""
    for block in blocks(page, "yaml"):
        file = Path("bench.yaml")
        file.write_text(block.text, encoding="utf-8")
        assert load({}, file) != RunConfig(), block


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_parse(page: Path) -> None:
    """Each command line of the program in a `sh` block has a verb and flags that there are."""
    for block in blocks(page, "sh"):
        for line in block.text.splitlines():
            if _PROGRAM.match(line):
                words = shlex.split(_PROGRAM.sub("", line, count=1), comments=True)
                verb = words.pop(0) if words and not words[0].startswith("-") else "run"
                assert verb in VERBS, f"{block}: {line}"
                parser(verb).parse(words)


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.name)
def test_relative_links_resolve(page: Path) -> None:
    """A link to a file leads to one that is there, and its anchor to a heading."""
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(file), f"{page.name}: {target}"


def test_helpers_of_plugins_are_listed() -> None:
    """The list of what plugins import from the harness is what they import."""
    sources = [file for folder in ("tasks", "backends", "scenarios", "reports") for file in (ROOT / folder).glob("*.py")]
    text = "\n".join(file.read_text(encoding="utf-8") for file in sources)
    found = set(re.findall(r"^from harness\.(\w+)[.\w]* import", text, re.MULTILINE))
    for names in re.findall(r"^from harness import (.*)$", text, re.MULTILINE):
        found |= {name.split(" as ")[0].strip() for name in names.split(",")}
    rows = table_rows(section(ROOT / "docs" / "design-notes.md", "What plugins may import"))
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row[0])} == found


def anchors(page: Path) -> set[str]:
    """Names that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# ------------------------------------------------------------------------------------------------------------------ command line


def parser(verb: str) -> Parser:
    made = Parser(prog=verb)
    made.add_argument("--debug", action="store_true")
    importlib.import_module(f"harness.commands.{verb}").add_arguments(made)
    return made


def flag_row(field: str) -> str:
    """The row of the flags table that the schema asks for."""
    info = RunConfig.model_fields[field]
    text, _, said = (info.description or "").partition(" (default: ")
    meant = said.removesuffix(")") or ("not set" if info.default is None else f"`{str(info.default).lower()}`")
    extra = info.json_schema_extra
    form = str(extra["form"]) if isinstance(extra, dict) else ""
    values = ", ".join(f"`{choice}`" for choice in choices(field)) or form or "text"
    names = f"`{flag(field)}`" + (f", `{flag(field).replace('--', '--no-', 1)}`" if info.annotation is bool else "")
    return f"| {names} | {meant} | {values} | {text} |"


def test_the_flags_table_is_the_schema() -> None:
    """A row for each setting, in the schema's order, with its default, its values and its meaning."""
    found = [line for line in COMMAND_LINE.read_text(encoding="utf-8").splitlines() if re.match(r"\| `--.*\|.*\|.*\|.*\|$", line)]
    assert found == [flag_row(field) for field in FIELDS]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_and_flag_is_mentioned(verb: str) -> None:
    """What `--help` of a verb lists stands in the page."""
    text = COMMAND_LINE.read_text(encoding="utf-8")
    assert f"`{verb}`" in text
    for action in parser(verb)._actions:
        assert all(f"`{name}`" in text or f"`{name} " in text for name in action.option_strings), f"{verb}: {action.option_strings}"
        assert action.option_strings or all(f"`{choice}`" in text for choice in action.choices or ()), f"{verb}: {action.dest}"


def test_the_exit_codes_table_is_the_enumeration() -> None:
    """Number, name and meaning of each exit code, and no other."""
    rows = [row[:3] for row in table_rows(section(COMMAND_LINE, "Exit codes")) if row[0].isdigit()]
    assert rows == [[str(int(code)), f"`{code.name}`", EXIT_CODE_MEANING[code]] for code in ExitCode]


def test_environment_variables_are_described() -> None:
    """Every ASSAY_ variable that the program reads stands in the page."""
    folders = ("harness", "tasks", "backends", "scenarios", "reports", "assay")
    sources = [file for folder in folders for file in (ROOT / folder).glob("*.py")]
    read = {name for file in sources for name in re.findall(r"ASSAY_[A-Z]+(?:_[A-Z]+)*", file.read_text(encoding="utf-8"))}
    text = COMMAND_LINE.read_text(encoding="utf-8")
    assert DATA_VARIABLE in read
    assert all(f"`{name}`" in text for name in read), read


# ----------------------------------------------------------------------------------------------------------------------- results


def documented_keys() -> list[str]:
    """Paths in the first cells of the tables under `run.json`, `{a,b}` written out."""
    cells = [row[0] for row in table_rows(section(RESULTS, "run.json"))]
    return [path for cell in cells for token in re.findall(r"`([^`]+)`", cell) for path in written_out(token)]


def written_out(token: str) -> list[str]:
    braces = re.search(r"\{([^}]*)\}", token)
    if braces is None:
        return [token]
    return [token.replace(braces[0], each.strip()) for each in braces[1].split(",")]


def paths(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Path and value of each leaf; what is empty or a list of plain values is one."""
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from paths(each, f"{prefix}.{key}" if prefix else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for each in value:
            yield from paths(each, f"{prefix}[]")
    else:
        yield prefix, value


def matches(path: str, pattern: str) -> bool:
    """`*` stands for one name, `**` for any rest."""
    expression = re.escape(pattern).replace(r"\*\*", ".+").replace(r"\*", r"[^.]+")
    return re.fullmatch(expression, path) is not None


def example_keys() -> dict[str, Any]:
    """What a null run does not have: a model, accuracy, reasons, a bound of early stopping, every phase."""
    return {
        "model": example_runs.VALID.model,
        "timings": {**example_runs.VALID.timings, "reference": 1.0, "find_peak": 1.0, "peak": 3.0, "workers": 20.0},
        "traffic": {
            "find_peak": {"algorithm": "loadgen", "found_qps": 1.0, "tried": [{"target_qps": 1.0, "met": True}]},
            "official": {"version": "6.0.17", "result_validity": "VALID", "disagreements": []},
            "replayed": {"file": "x", "sha256": "x"},
        },
        "telemetry": {
            "summary": {"cpu_mhz": {"min": 1, "mean": 1, "max": 1, "unit": "MHz"}},
            "throttled": [{"from_s": 0, "to_s": 1, "what": "gpu0", "reason": "x", "share": 1}],
            "events": [{"at_s": 0, "what": "XID 79", "text": "x"}],
            "energy": {
                **dict.fromkeys(("joules_per_sample", "joules", "samples", "window_s", "watts"), 1),
                "parts": {"gpu0": {"joules": 1, "by": "energy counter"}},
                "source": "on-board sensor, not wall",
            },
            "facts": {"gpu0": {"name": "x"}},
        },
        "files": {"mlperf_log_trace": "mlperf_log_trace.json"},
        "accuracy": {each.name: "x" for each in fields(Accuracy) if each.name not in ("scores", "agreement", "paired")}
        | {
            "scores": {"f1": 1.0},
            "agreement": {"compared": 256, "different": 4, "depends": "why"},
            "paired": {each.name: 1 for each in fields(Paired)},
        },
        "early_stopping": {each.name: "x" for each in fields(EarlyStopping)},
        "verdict": {"reasons": [{each.name: "x" for each in fields(Reason)}]},
        "conditions": {
            "peak": example_runs.VALID.conditions["peak"],
            "gpus": [{"memory.total": "1"}],
            "environment": {"OMP_NUM_THREADS": "1"},
            "git": {"commit": "0", "dirty": False},
            "instances": {"search": _search()},
            "warm_up": {"unsettled": [{"rows": 1, "length": 8, "calls": 10}]},
        },
        "throughput": {"by_length": [asdict(AtLength(8, 1, 1, 8, 8))]},
        "steady": Steady("rate", 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, (0.5,), (1.0,)).record(),
    }


def _search() -> dict[str, Any]:
    """What `--workers auto` found."""
    trials = (Trial(Candidate(2, 2), 1.0, 1.0), Trial(Candidate(1, 2), error="x"))
    return facts(Finding(trials, "samples/s", "throughput", "2026-11-21T18:00:00+00:00"))


def test_every_key_of_run_json_is_described(null_run: session.Finished) -> None:
    """Each leaf of a real run's run.json stands in the tables; where it is null or empty, it or what it would hold."""
    import json

    stored = json.loads((null_run.folder / "run.json").read_text(encoding="utf-8"))
    known = documented_keys()
    for path, value in [*paths(stored), *paths(example_keys())]:
        held = value in (None, {}, []) and any(key.startswith((f"{path}.", f"{path}[]")) for key in known)
        assert held or any(matches(path, key) for key in known), path


def test_no_key_is_described_that_is_not_there(null_run: session.Finished) -> None:
    """Each path of the tables is in a real run, or in the types that it is made from; what holds others may be empty here or not."""
    import json

    stored = json.loads((null_run.folder / "run.json").read_text(encoding="utf-8"))
    real = [path for path, _ in [*paths(stored), *paths(example_keys())]]
    for key in documented_keys():
        assert any(matches(path, key) or path.startswith(f"{key}.") for path in real), key


def test_the_columns_of_the_ledger_are_described(null_run: session.Finished) -> None:
    """Names and types of queries.parquet, in order, and its metadata."""
    schema: pa.Schema = pq.read_schema(null_run.folder / store.QUERIES_FILE)
    text = section(RESULTS, "queries.parquet")
    rows = [row[:2] for row in table_rows(text) if row[0].startswith("`")]
    assert rows == [[f"`{field.name}`", str(field.type)] for field in schema]
    assert all(f"`{key.decode()}`" in text for key in schema.metadata)


def test_every_reason_is_described() -> None:
    """Each code that a Reason is made with has a row."""
    sources = [*(ROOT / "harness").rglob("*.py"), *(ROOT / "scenarios").glob("*.py")]
    codes = {code for file in sources for code in re.findall(r"Reason\(\s*\"(\w+)\"", file.read_text(encoding="utf-8"))}
    described = {row[0].strip("`") for row in table_rows(section(RESULTS, "Reasons")) if row[0].startswith("`")}
    assert codes == described


# ---------------------------------------------------------------------------------------------------------------------- fidelity


def test_the_tests_that_fidelity_names_exist() -> None:
    """Each file and test that docs/fidelity.md calls as a witness is there."""
    text = (ROOT / "docs" / "fidelity.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+\.py)(?:: ([\w, ]+))?`", text)
    assert len(named) > 20
    for file, tests in named:
        found = list((ROOT / "tests").rglob(file))
        assert len(found) == 1, file
        source = found[0].read_text(encoding="utf-8")
        for test in filter(None, tests.split(", ")):
            assert f"def {test}(" in source, f"{file}: {test}"
