"""Configuration files against what the official LoadGen 6.0.17 made of them: recorded cases, and cases made here and now."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from harness.loadgen import MODES, SCENARIOS, Requested
from harness.mlperf import conf as mlperf_conf
from harness.mlperf import rounds

GOLDEN = Path(os.environ.get("ASSAY_GOLDEN", Path(__file__).parents[3] / "shared" / "golden")) / "fromconfig.json"
SEED = int(os.environ.get("ASSAY_OFFICIAL_SEED", "1"))
TEXTS = int(os.environ.get("ASSAY_OFFICIAL_RUNS", "20")) * 10

needs_official = pytest.mark.skipif(importlib.util.find_spec("mlperf_loadgen") is None, reason="mlcommons-loadgen is not installed")


def outcome(text: str | None, model: str, scenario: str, conf_type: int) -> tuple[int, dict[str, Any]]:
    """Return code, and the settings that are not LoadGen's defaults; a mode by its number."""
    code, settings = mlperf_conf.from_config(Requested(), text, model, scenario, conf_type)
    default = asdict(Requested())
    changed = {name: value for name, value in asdict(settings).items() if repr(value) != repr(default[name])}
    return code, {name: MODES.index(value) if name == "mode" else value for name, value in changed.items()}


@pytest.mark.skipif(not GOLDEN.is_file(), reason="no golden vectors: set ASSAY_GOLDEN")
def test_recorded_files_are_read_as_the_official_loadgen_reads_them() -> None:
    """Return code and settings of every recorded case equal the official ones, types included."""
    cases = json.loads(GOLDEN.read_text())
    assert len(cases) >= 104
    for case in cases:
        code, changed = outcome(case["text"], case["model"], case["scenario"], case["conf_type"])
        assert code == case["rc"], case
        assert repr(changed) == repr({name: case["changed_from_default"][name] for name in changed}), case
        assert changed.keys() == case["changed_from_default"].keys(), case


# One FromConfig a process: LoadGen counts them.
SCRIPT = """
import json, os, sys, tempfile
import mlperf_loadgen as lg

default = lg.TestSettings()
NAMES = [name for name in dir(default) if not name.startswith("_") and name != "FromConfig"]

def value(settings, name):
    found = getattr(settings, name)
    return int(found) if name in ("mode", "scenario") else found

for text, model, scenario, conf_type in json.load(sys.stdin):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        settings = lg.TestSettings()
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "conf")
            if text is not None:
                with open(path, "w", encoding="utf-8", newline="") as file:
                    file.write(text)
            code = settings.FromConfig(path, model, scenario, conf_type)
        changed = {name: value(settings, name) for name in NAMES if repr(value(settings, name)) != repr(value(default, name))}
        print(json.dumps([code, changed]), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


def assert_official(cases: list[tuple[str | None, str, str, int]]) -> None:
    run = subprocess.run([sys.executable, "-c", SCRIPT], input=json.dumps(cases), capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(answers) == len(cases)
    for case, (code, changed) in zip(cases, answers, strict=True):
        ours = outcome(*case)
        assert (ours[0], sorted(map(repr, ours[1].items()))) == (code, sorted(map(repr, changed.items()))), case


@pytest.mark.official
@needs_official
def test_built_in_values_of_every_model_are_the_official_ones() -> None:
    """The built-in file sets what the wheel's does, for every model and scenario; also where the user's is missing."""
    models = (*rounds.MODELS, "no-such-model", "*")
    assert_official([(None, model, scenario, 0) for model in models for scenario in SCENARIOS])
    assert_official([(None, "bert", "Server", conf_type) for conf_type in (1, 2)])


VALUES = [
    "1",
    "0",
    "2",
    "2.7",
    "1e3",
    "08",
    "010",
    "0x1F",
    "0X1f",
    "-1",
    "+5",
    ".5",
    "5.",
    "-0x10",
    "1e999",
    "nan",
    "inf",
    "-inf",
    "infinity",
    "nan(x1)",
    "0x.8",
    "0x1p4",
    "1e-400",
    "-0",
    "0x1e5",
    "0x1p99999",
    "99999999999999999999",
    "-99999999999999999999",
    "18446744073709551615",
    "4294967299",
    "2147483648",
    "99999999999999",
]
WRONG = ["abc", "nan(", "naninity", "infinityy", "0x", "1_0", "٣", "#", "#x", "=", "1,5", "1e", "1e+", "--1", "5ms", "0b1"]
NAMES = [*sorted({key.name for key in mlperf_conf.KEYS}), "target_duration", "bogus"]


def random_line(choose: random.Random) -> str:
    key = ".".join((choose.choice(["*", "bert", "resnet50"]), choose.choice(["*", *SCENARIOS]), choose.choice(NAMES)))
    value = choose.choice(VALUES)
    if choose.random() < 0.9:
        return f"{key} = {value}"
    odd = [
        f"{key}={value}",
        f"{key} =",
        f"# {key} = {value}",
        f"{key}\t=\v{value}\f\r",
        f"{key} # = 4",
        f"#{key}",
        "",
        f"  {key} =  {value} ",
    ]
    odd += [f"{key} = {value} {choose.choice(VALUES)}", f"{key} = {choose.choice(WRONG)}", f"{key} : {value}", f"{key}\x1c= 3"]
    return choose.choice(odd)


@pytest.mark.official
@needs_official
def test_random_files_are_read_as_the_official_loadgen_reads_them() -> None:
    """Files of random keys, values and faults give the official return code and settings, as user.conf and as audit file."""
    choose = random.Random(SEED)
    cases: list[tuple[str | None, str, str, int]] = [
        (f"{key} = {value}\n", "bert", "Server", 2)
        for value in (*VALUES, *WRONG, "9" * 5000, "0" * 100 + "7")
        for key in ("*.*.min_duration", "*.Server.target_qps", "*.Server.target_latency", "*.Server.max_async_queries", "*.*.mode")
    ]
    for _ in range(TEXTS):
        text = choose.choice(["\n", "\r\n"]).join(random_line(choose) for _ in range(choose.randint(1, 14)))
        cases.append((text, choose.choice(["bert", "resnet50", "*"]), choose.choice(list(SCENARIOS)), choose.choice([1, 2])))
    assert_official(cases)
