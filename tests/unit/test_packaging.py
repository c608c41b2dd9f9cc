"""What is installed: all of ours, under one name, and nothing else. The wheel that is built works outside the checkout."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]
FOLDERS: dict[str, str] = SETUPTOOLS["package-dir"]
"""Folder of the checkout by package name."""

INSTALLED = {distribution.name for distribution in metadata.distributions()}
"""Names of what is installed; looking for the module of setuptools would exchange Python's own distutils for its copy, with a warning."""

NOT_INSTALLED = {"tests", "benchmarks", "docs", "results", "build", "dist"}
MADE_LATER = {"references.json"}
"""Data that `models/` may hold and need not."""


def pins() -> dict[str, Version]:
    """Versions by name in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    parts = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in parts}


def requirements() -> list[Requirement]:
    project = PROJECT["project"]
    return [Requirement(text) for text in [*project["dependencies"], *project["optional-dependencies"]["test"]]]


def data_files(folder: Path) -> Iterator[Path]:
    """Files of a package folder that are no code, without those of packages inside it; models/base is fetched, not ours."""
    inner = {ROOT / place for place in FOLDERS.values()} - {folder}
    for path in sorted(folder.rglob("*")):
        ours = path.suffix not in (".py", ".pyc") and ROOT / "models" / "base" not in path.parents
        if path.is_file() and ours and not any(place.is_relative_to(folder) and place in path.parents for place in inner):
            yield path


# ---------------------------------------------------------------------------------------------------------------- pyproject.toml


def test_every_folder_of_code_is_a_package_under_assay() -> None:
    """The list in pyproject.toml is the folders that hold Python files (and models), each under `assay.` and its own name."""
    folders = {path.parent.relative_to(ROOT).as_posix() for path in ROOT.glob("[!.]*/**/*.py")} | {"models"}
    ours = {folder for folder in folders if folder.split("/")[0] not in NOT_INSTALLED}
    assert sorted(SETUPTOOLS["packages"]) == sorted(FOLDERS)
    assert set(FOLDERS.values()) == ours
    assert all(name == ("assay" if folder == "assay" else f"assay.{folder.replace('/', '.')}") for name, folder in FOLDERS.items())


def test_package_data_is_what_lies_in_the_folders() -> None:
    """Each pattern finds a file, and each file that is no code is found by a pattern."""
    for name, folder in FOLDERS.items():
        patterns = SETUPTOOLS["package-data"].get(name, [])
        found = {pattern: {path for path in (ROOT / folder).glob(pattern) if path.is_file()} for pattern in patterns}
        assert [pattern for pattern, files in found.items() if not files and pattern not in MADE_LATER] == []
        assert set(data_files(ROOT / folder)) == set().union(*found.values()), name


def test_the_lock_file_is_exact_and_names_no_place() -> None:
    """Every line of constraints.txt is name==version; torch is the version of the Makefile, without a local part."""
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line)] == []
    (torch,) = re.findall(r"^TORCH := (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert str(pins()["torch"]) == torch


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_dependency_is_locked_within_its_bounds(requirement: Requirement) -> None:
    """The locked version is one that pyproject.toml allows, and pyproject.toml states a bound (stubs follow mypy)."""
    assert pins()[canonicalize_name(requirement.name)] in requirement.specifier
    assert requirement.specifier or requirement.name.startswith("types-")


# --------------------------------------------------------------------------------------------------------------------- the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network from a copy of the sources, so that no build folder appears in the checkout."""
    if not {"build", "setuptools"} <= INSTALLED:
        pytest.skip("build and setuptools are not installed")
    source, out = (tmp_path_factory.mktemp(name) for name in ("source", "wheel"))
    for folder in FOLDERS.values():
        shutil.copytree(ROOT / folder, source / folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "base"))
    (source / "tests").mkdir()
    (source / "tests" / "__init__.py").touch()  # bait
    (source / "models" / "base").mkdir()
    (source / "models" / "base" / "model.safetensors").touch()  # bait
    for name in ("pyproject.toml", "README.md", "assay_pytest.py"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--skip-dependency-check", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel installs, and the console script in bin/."""
    if "pip" not in INSTALLED:
        pytest.skip("pip is not installed")
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target), str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


@pytest.mark.slow
def test_the_wheel_holds_all_of_ours_and_nothing_else(wheel: Path) -> None:
    """Every file of the package folders lies under assay/; no tests, no fetched model, nothing beside assay/ but the pytest plugin."""
    names = set(zipfile.ZipFile(wheel).namelist())
    beside = {name for name in names if not name.startswith("assay/")}
    assert {name.split("/")[0] for name in beside} == {f"assay-{PROJECT['project']['version']}.dist-info", "assay_pytest.py"}
    wanted = {file for folder in FOLDERS.values() for file in [*(ROOT / folder).glob("*.py"), *data_files(ROOT / folder)]}
    relative = {file.relative_to(ROOT).as_posix() for file in wanted}
    assert names - beside == {name if name.startswith("assay/") else f"assay/{name}" for name in relative}


def run(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program of the installed package, seen from another folder: the checkout out of reach, no workers of this suite beside it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    environment = {**kept, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


NULL = ("--backend", "null", "--scenario", "server", "--target-qps", "500", "--duration", "0.5")


@pytest.mark.slow
@pytest.mark.parametrize("program", [["bin/assay"], ["-m", "assay"]], ids=["script", "module"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_installed_program_measures(site: Path, tmp_path: Path, program: list[str], workers: str) -> None:
    """Console script and `python -m assay`, alone and with worker processes: a VALID run of the null backend outside the checkout."""
    start = [str(site / program[0])] if len(program) == 1 else program
    run(site, tmp_path, *start, *NULL, "--workers", workers, "--out", "results")
    stored = json.loads(next(tmp_path.glob("results/*/run.json")).read_text(encoding="utf-8"))
    assert stored["verdict"]["valid"], stored["verdict"]["reasons"]


@pytest.mark.slow
def test_the_installed_program_finds_its_plugins_and_data(site: Path, tmp_path: Path) -> None:
    """`assay list` names the tasks with their embedded models; version, samples and adapters are those of the package."""
    listing = run(site, tmp_path, "-m", "assay", "list").stdout
    assert [
        name for name in ("squad", "sst2", "pytorch", "null", "server", "offline", "minilm-squad", "markdown") if name not in listing
    ] == []
    assert run(site, tmp_path, "-m", "assay", "--version").stdout == f"assay {PROJECT['project']['version']}\n"
    code = "import assay, harness.embedded as e, tasks; print(assay.__file__, e.ADAPTERS, *tasks.__path__, sep='\\n')"
    places = [Path(line) for line in run(site, tmp_path, "-c", code).stdout.splitlines()]
    assert all(site in place.parents for place in places)
    assert (places[1] / "squad" / "adapter_model.safetensors").is_file()


@pytest.mark.slow
def test_the_installed_package_measures_from_python(site: Path, tmp_path: Path) -> None:
    """`assay.run` returns the stored run, and `assay.load` reads it back."""
    code = (
        "import assay, pathlib\n"
        "run = assay.run(backend='null', scenario='single-stream', duration=0.5, out='results')\n"
        "(folder,) = pathlib.Path('results').iterdir()\n"
        "assert assay.load(folder).run_id == run.run_id\n"
        "print(run.verdict['valid'])\n"
    )
    assert run(site, tmp_path, "-c", code).stdout == "True\n"


@pytest.mark.slow
def test_the_installed_pytest_plugin_measures(site: Path, tmp_path: Path) -> None:
    """pytest finds the plugin by itself, and a project's test gets a run from its fixture."""
    (tmp_path / "test_speed.py").write_text(
        "def test_it(assay):\n    assert assay.run(backend='null', scenario='single-stream', duration=0.2).exit_code == 0\n"
    )
    done = run(site, tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "test_speed.py")
    assert "1 passed" in done.stdout
