"""Settings from file and flags: one schema, and errors that name their place and their cure."""

from pathlib import Path

import pytest

from harness.config import DATA_VARIABLE, FIELDS, GROUPS, RunConfig, load
from harness.errors import AssayError, ExitCode, MissingError, UsageError


@pytest.fixture(autouse=True)
def _no_data_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)


def yaml_file(folder: Path, text: str) -> Path:
    file = folder / "bench.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def complaint(flags: dict[str, object], file: Path | None = None) -> AssayError:
    with pytest.raises(AssayError) as caught:
        load(flags, file)
    return caught.value


def test_without_anything_the_defaults_hold() -> None:
    """No file and no flag give the documented defaults."""
    config = load({})
    assert config == RunConfig()
    assert (config.scenario, config.task, config.backend, config.rules) == ("offline", "squad", "pytorch:fp32", "quick")
    assert (config.batching, config.max_batch, config.batch_wait, config.workers) == ("sorted", 32, 0.0, 1)
    assert config.accuracy_target == 0.99


def test_every_setting_has_help_and_a_group() -> None:
    """A field without description or group would not show in --help."""
    for name in FIELDS:
        field = RunConfig.model_fields[name]
        extra = field.json_schema_extra
        assert field.description
        assert isinstance(extra, dict)
        assert extra["group"] in GROUPS


def test_settings_are_frozen() -> None:
    """A configuration cannot be changed once read."""
    with pytest.raises(ValueError, match="frozen"):
        load({}).scenario = "server"  # type: ignore[misc]


def test_file_and_flags_are_one_schema_and_flags_win(tmp_path: Path) -> None:
    """Keys may be written with - or _, values as text with units, and a flag beats the file."""
    file = yaml_file(tmp_path, "scenario: single_stream\nmax-batch: 8\nlatency_bound: 100ms\nduration: 2min\n")
    config = load({"max_batch": "16"}, file)
    assert (config.scenario, config.max_batch, config.latency_bound, config.duration) == ("single-stream", 16, 100.0, 120.0)


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    """A file of comments is a file without settings."""
    assert load({}, yaml_file(tmp_path, "# nothing\n")) == RunConfig()


def test_a_stored_configuration_loads_again(tmp_path: Path) -> None:
    """run.json is accepted as a file of settings; what the rules made of them is left out."""
    first = load({"scenario": "server", "target_qps": "12.5", "max_batch": "4"})
    stored = first.model_dump_json().replace('{"scenario"', '{"resolved": {"min_queries": 64}, "scenario"', 1)
    file = tmp_path / "run.json"
    file.write_text(f'{{"schema": 1, "run_id": "x", "config": {stored}}}')
    assert load({}, file) == first


@pytest.mark.parametrize(
    ("flags", "message", "cure"),
    [
        ({"duration": "-5"}, "--duration: '-5' should be greater than 0", "90s"),
        ({"duration": "soon"}, "--duration: 'soon': not a time", "2min"),
        ({"target_qps": "0"}, "--target-qps: '0' should be greater than 0", "a rate above 0"),
        ({"target_qps": "nan"}, "--target-qps: 'nan' should be a finite number", "a rate above 0"),
        ({"target_qps": "-inf"}, "--target-qps: '-inf' should be", "a rate above 0"),
        ({"latency_bound": "0"}, "--latency-bound: '0' should be greater than 0", "130ms"),
        ({"max_batch": "0"}, "--max-batch: '0' should be greater than or equal to 1", "whole number"),
        ({"max_batch": "2.5"}, "--max-batch: '2.5' should be a valid integer", "whole number"),
        ({"workers": True}, "--workers: True is neither auto nor a whole number from 1 to 256", "auto"),
        ({"workers": "0"}, "--workers: '0' is neither auto nor a whole number", "auto"),
        ({"pad_to": "64,32"}, "--pad-to: '64,32' is not ascending", "64,128,256"),
        ({"pad_to": "wide"}, "--pad-to: 'wide' is neither a whole number nor a list", "64,128,256"),
        ({"batching": "fixed", "pad_to": "32"}, "--pad-to: --batching fixed pads", "leave out one of the two"),
        ({"calibration_samples": "3"}, "--calibration-samples: '3' should be greater than or equal to 8", "whole number"),
        ({"percentile": "99"}, "--percentile: '99' should be less than 1", "0.99"),
        ({"accuracy_target": "1.5"}, "--accuracy-target: '1.5' should be less than or equal to 1", "0.99"),
        ({"rules": "standart"}, "--rules: 'standart' is not one of the choices", "did you mean standard?"),
        ({"batching": "sort"}, "--batching: 'sort' is not one of the choices", "did you mean sorted?"),
        ({"scenario": "servr"}, "--scenario: there is no scenario servr", "did you mean server?"),
        ({"task": "sst-2"}, "--task: there is no task sst-2", "did you mean sst2?"),
        ({"backend": "pytorhc:fp32"}, "--backend: there is no backend pytorhc", "did you mean pytorch?"),
        ({"backend": "pytorch:fp23"}, "--backend: pytorch has no precision fp23", "did you mean fp32?"),
        ({"device": "CUDA 1"}, "--device: 'CUDA 1' should match pattern", "cuda:1"),
        ({"target_rate": "5"}, "--target-rate: there is no setting target_rate", "did you mean target_qps?"),
        ({"duration": "60", "max_duration": "5"}, "--max-duration: 5 s is less than the duration of 60 s", "0 for no limit"),
    ],
)
def test_a_wrong_flag_is_named_with_its_cure(flags: dict[str, object], message: str, cure: str) -> None:
    """Each bad value raises a UsageError that begins with the flag and says what to give instead."""
    error = complaint(flags)
    assert isinstance(error, UsageError)
    assert error.exit_code == ExitCode.USAGE
    assert str(error).startswith(message)
    assert cure in error.cure


@pytest.mark.parametrize(
    ("text", "message", "cure"),
    [
        ("scenario: server\n\ntarget-qsp: 5\n", "bench.yaml:3: there is no setting target-qsp", "did you mean target_qps?"),
        ("# one\ntarget_qps: .nan\n", "bench.yaml:2: target_qps: nan should be a finite number", "a rate above 0"),
        ("workers:\n", "bench.yaml:1: workers: nothing is neither auto nor a whole number", "auto"),
        ("max_batch: yes\n", "bench.yaml:1: max_batch: True: true and false are not numbers", "whole number"),
        ("task: squad\nscenario: sever\n", "bench.yaml:2: scenario: there is no scenario sever", "did you mean server?"),
        ("task: squad\nTASK-: 1\n", "bench.yaml:2: there is no setting TASK-", "did you mean task?"),
        ("max-batch: 1\nmax_batch: 2\n", "bench.yaml:2: max_batch is given twice (first at", "keep one"),
        ("- a\n- b\n", "bench.yaml:1: not a mapping of settings", "key: value"),
        ("scenario: [server\ntask: squad\n", "bench.yaml:2: not YAML", "key: value"),
        ("scenario: !!python/name:os.system x\n", "bench.yaml:1: not YAML", "key: value"),
    ],
)
def test_a_wrong_line_of_the_file_is_named(tmp_path: Path, text: str, message: str, cure: str) -> None:
    """Errors in the file name it and the line."""
    error = complaint({}, yaml_file(tmp_path, text))
    assert isinstance(error, UsageError)
    assert str(error).removeprefix(f"{tmp_path}/").startswith(message)
    assert cure in error.cure


def test_several_wrong_values_are_told_at_once() -> None:
    """Nobody has to mend one value to hear of the next."""
    lines = str(complaint({"max_batch": "0", "target_qps": "nan", "duration": "-1"})).splitlines()
    assert sorted(line.partition(":")[0] for line in lines) == ["--duration", "--max-batch", "--target-qps"]


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    """A configuration file that is not there is exit code 3."""
    error = complaint({}, tmp_path / "none.yaml")
    assert isinstance(error, MissingError)
    assert str(error).startswith("--config: ")


def test_a_missing_data_folder_names_where_it_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data folder is checked at once, whether flag or environment variable."""
    gone = tmp_path / "gone"
    assert str(complaint({"data": str(gone)})).startswith(f"--data: {gone}")
    monkeypatch.setenv(DATA_VARIABLE, str(gone))
    assert str(complaint({})).startswith(f"${DATA_VARIABLE}: {gone}")


def test_the_data_variable_is_used_where_no_data_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$ASSAY_DATA fills in, and a flag beats it."""
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    assert load({}).data == tmp_path
    assert load({"data": str(other)}).data == other


def test_a_backend_file_is_named_by_path(tmp_path: Path) -> None:
    """A path to a .py file, with or without precision, is a backend; its capitals are kept."""
    file = tmp_path / "My_Engine.py"
    file.write_text('"""Mine."""\nPRECISIONS = ("fp32", "fp8")\ndef create(options): ...\n')
    assert load({"backend": f"{file}:fp8"}).backend == f"{file}:fp8"
    assert "has no precision fp16" in str(complaint({"backend": f"{file}:fp16"}))


# ----------------------------------------------------------------------------------------------------------------- LoadGen's own files


def conf_file(folder: Path, text: str, name: str = "user.conf") -> str:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_user_conf_stands_below_flags_and_the_yaml_file(tmp_path: Path) -> None:
    """What only user.conf gives is taken; what the YAML file gives beats it, and a flag beats both."""
    conf = conf_file(
        tmp_path, "*.Server.target_qps = 40\n*.Server.min_duration = 7000\nbert.Server.min_query_count = 300\n*.*.max_query_count = 900\n"
    )
    file = yaml_file(tmp_path, f"scenario: server\nuser_conf: {conf}\nduration: 9s\nmin-queries: 200\n")
    config = load({"min_queries": "100"}, file)
    assert (config.target_qps, config.duration, config.min_queries, config.max_queries) == (40.0, 9.0, 100, 900)


def test_an_audit_file_stands_above_everything(tmp_path: Path) -> None:
    """Over user.conf, YAML and flags alike; what it does not name stays."""
    user = conf_file(tmp_path, "*.*.min_query_count = 300\n*.*.mode = 2\n")
    audit = conf_file(tmp_path, "*.*.min_query_count = 7\n*.*.accuracy_log_rng_seed = 11\n*.*.mode = 1\n", "audit.config")
    flags = {"user_conf": user, "audit_conf": audit, "min_queries": "100", "mode": "performance", "duration": "5"}
    config = load(flags, yaml_file(tmp_path, "min_queries: 200\naccuracy_log_seed: 3\n"))
    assert (config.min_queries, config.accuracy_log_seed, config.mode, config.duration) == (7, 11, "accuracy", 5.0)
    assert load({name: value for name, value in flags.items() if name != "audit_conf"}).min_queries == 100


def test_conf_files_are_read_for_the_scenario_that_was_chosen(tmp_path: Path) -> None:
    """Another scenario's rows do not count, wherever the scenario was chosen."""
    conf = conf_file(tmp_path, "*.Server.target_qps = 40\n*.SingleStream.target_latency = 4\n*.MultiStream.samples_per_query = 2\n")
    assert load({"user_conf": conf, "scenario": "server"}).target_qps == 40
    assert load({"user_conf": conf}, yaml_file(tmp_path, "scenario: single-stream\n")).target_qps == 250
    multi = load({"user_conf": conf, "scenario": "multi_stream"})
    assert (multi.target_qps, multi.samples_per_query) == (None, 2)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("*.*.min_query_count = 5\n*.*.min_query_cuont = 5\n", 2, "min_query_cuont"),
        ("\n*.*.min_query_count=5\n", 2, "LoadGen ignores it"),
        ("*.*.min_query_count = 5 # few\n", 1, "comment"),
        ("*.*.qsl_rng_seed = 5\n", 1, "qsl_rng_seed"),
        ("# ours\n*.*.use_token_latencies = 1\n", 2, "use_token_latencies"),
    ],
)
def test_a_line_that_loadgen_would_ignore_is_an_error_with_file_and_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    """In both files; the cure is said."""
    for option, name in (("user_conf", "user.conf"), ("audit_conf", "audit.config")):
        file = conf_file(tmp_path, text, name)
        error = complaint({option: file})
        assert isinstance(error, UsageError)
        assert f"{file}:{line}: " in str(error)
        assert said in str(error)


def test_conf_compat_reads_them_as_loadgen_does(tmp_path: Path) -> None:
    """Lines that LoadGen cannot use are ignored, the others count; it may be asked for in the YAML file."""
    text = "*.*.min_query_cuont = 5\n*.*.max_query_count=5\n*.*.qsl_rng_seed = 5\n*.*.min_query_count = 33\n"
    conf = conf_file(tmp_path, text)
    config = load({"user_conf": conf, "conf_compat": True})
    assert (config.min_queries, config.max_queries, config.qsl_seed) == (33, None, None)
    assert load({"user_conf": conf}, yaml_file(tmp_path, "conf-compat: true\n")).min_queries == 33
    assert isinstance(complaint({"user_conf": conf}), UsageError)


def test_a_wrong_value_of_a_conf_file_is_named_by_its_line(tmp_path: Path) -> None:
    """The schema judges it like any other; so does the rule that a maximum is no less than the minimum."""
    conf = conf_file(tmp_path, "# ours\n*.Server.target_qps = 0\n")
    error = complaint({"user_conf": conf, "scenario": "server"})
    assert str(error) == f"{conf}:2: target_qps: 0.0 should be greater than 0"
    assert "a rate above 0" in error.cure
    conf = conf_file(tmp_path, "*.*.min_duration = 9000\n\n*.*.max_duration = 5000\n")
    assert str(complaint({"user_conf": conf})) == f"{conf}:3: max_duration: 5 s is less than the duration of 9 s"


def test_conf_files_that_are_not_there_or_have_no_scenario_are_named_by_their_option(tmp_path: Path) -> None:
    """Exit code 3 for the file; a scenario of the user's own is none of LoadGen's."""
    for option in ("user_conf", "audit_conf"):
        error = complaint({option: str(tmp_path / "none")})
        assert isinstance(error, MissingError)
        assert str(error).startswith(f"--{option.replace('_', '-')}: {tmp_path}/none cannot be read")
    conf = conf_file(tmp_path, "*.*.min_query_count = 5\n")
    assert str(complaint({"user_conf": conf, "scenario": "bursts"})) == "--user-conf: LoadGen has no scenario bursts"


def test_flags_are_judged_before_the_conf_files_are_read(tmp_path: Path) -> None:
    """A wrong flag is not hidden by a file that is not there."""
    assert str(complaint({"min_queries": "0", "user_conf": str(tmp_path / "none")})).startswith("--min-queries: '0'")


def test_limits_of_zero_in_a_conf_file_are_no_limits(tmp_path: Path) -> None:
    """As in LoadGen: 0 queries at most, 0 ms at most, 0 unanswered."""
    conf = conf_file(tmp_path, "*.*.max_query_count = 0\n*.*.max_duration = 0\n*.Server.max_async_queries = 0\n")
    config = load({"user_conf": conf, "scenario": "server"})
    assert (config.max_queries, config.max_async, config.max_duration) == (None, None, 0.0)
