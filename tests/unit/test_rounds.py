"""The rounds of MLPerf Inference: seeds, wheels, mlperf.conf."""

import pytest

from harness.core import Seeds
from harness.errors import UsageError
from harness.mlperf import rounds


def test_the_newest_round_has_the_default_seeds() -> None:
    """Seeds of v6.1 are those that settings have where nothing is said."""
    assert rounds.ROUNDS[-1] == "v6.1"
    assert rounds.seeds("v6.1") == Seeds()


def test_each_round_has_seeds_of_its_own() -> None:
    """Four rounds, and no seed stands in two of them."""
    every = [seed for each in map(rounds.seeds, rounds.ROUNDS) for seed in (each.qsl, each.sample_index, each.schedule)]
    assert rounds.ROUNDS == ("v5.0", "v5.1", "v6.0", "v6.1")
    assert len(set(every)) == 12
    assert rounds.seeds("v5.1") == Seeds(1780908523862526354, 14771362308971278857, 18209322760996052031)


def test_an_unknown_round_is_refused_with_the_known_ones() -> None:
    """The cure lists the rounds."""
    with pytest.raises(UsageError, match=r"round v4\.1 is not built in") as caught:
        rounds.seeds("v4.1")
    assert "rounds: v5.0, v5.1, v6.0, v6.1" in caught.value.cure


def test_test05_seeds_are_known_for_one_round() -> None:
    """v6.1 has them; for the others the error says that they are not known."""
    assert rounds.test05_seeds("v6.1").qsl == 7975553102935885558
    with pytest.raises(UsageError, match=r"TEST05 seeds of round v6\.0 are not known") as caught:
        rounds.test05_seeds("v6.0")
    assert "--round v6.1" in caught.value.cure


@pytest.mark.parametrize(
    ("version", "round_"),
    [
        ("5.0.8", None),
        ("5.0.9", "v5.0"),
        ("5.0.21", "v5.0"),
        ("5.0.22", "v5.1"),
        ("6.0.3", "v5.1"),
        ("6.0.5", "v6.0"),
        ("6.0.17", "v6.1"),
        ("6.1.0", None),
    ],
)
def test_a_wheel_belongs_to_the_round_whose_seeds_it_carries(version: str, round_: str | None) -> None:
    """Versions compare as numbers; between the known ones there is no guess."""
    assert rounds.round_of_wheel(version) == round_


def test_wheels_of_a_round_are_said_in_words() -> None:
    """A round may be carried by two runs of versions."""
    assert rounds.wheels("v5.1") == "5.0.22 to 5.1.2, 6.0.3 to 6.0.4"


def test_the_conf_of_a_round_differs_in_its_seeds_alone() -> None:
    """All keys but the seeds agree; TEST05 seeds are left out where they are not known."""
    old, new = rounds.conf("v5.0"), rounds.conf("v6.1")
    assert {key for key in new if old.get(key) != new[key]} == {
        f"*.*.{test}{name}_rng_seed" for test in ("", "test05_") for name in ("qsl", "sample_index", "schedule")
    }
    assert old["*.*.qsl_rng_seed"] == "6023615788873153749"
    assert old.keys() == {key for key in new if "test05" not in key}


def test_bert_rows() -> None:
    """BERT has three rows; everything else is the wildcard model's."""
    assert {key: value for key, value in rounds.conf("v6.1").items() if key.startswith("bert.")} == {
        "bert.*.performance_sample_count_override": "10833",
        "bert.Server.target_latency": "130",
        "bert.Offline.min_query_count": "10833",
    }
