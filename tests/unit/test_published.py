"""Published results of accelerators: which are the same accelerator, and where a figure stands among them."""

from __future__ import annotations

from collections import Counter

import pytest

from harness.qualifying import published

SXM = "NVIDIA H100-SXM-80GB"


def test_all_results_of_the_round_are_there() -> None:
    """141 results: 136 closed and 5 open; medians of the H100 are those of the round's own table."""
    found = published.results()
    assert Counter(each.division for each in found) == {"closed": 136, "open": 5}
    assert Counter(each.scenario for each in found) == {"offline": 71, "server": 66, "single-stream": 4}
    against = published.of(SXM, "bert-99", "offline")
    standing = published.standing(9000.0, against)
    assert (standing.n, round(standing.low), round(standing.middle), round(standing.high)) == (11, 8630, 8976, 9110)


@pytest.mark.parametrize(
    ("driver", "known"),
    [
        ("NVIDIA H100 80GB HBM3", SXM),
        ("NVIDIA H100 SXM5 80GB", SXM),
        ("H100-SXM-80GB", SXM),
        ("NVIDIA H100 PCIe", "NVIDIA H100-PCIe-80GB"),
        ("NVIDIA H100 80GB HBM2e", "NVIDIA H100-PCIe-80GB"),
        ("NVIDIA H100 NVL", "NVIDIA H100-NVL-94GB"),
        ("nvidia_h100_nvl", "NVIDIA H100-NVL-94GB"),
        ("NVIDIA H200", "NVIDIA H200-SXM-141GB"),
        ("NVIDIA GH200 480GB", "NVIDIA GH200 Grace Hopper Superchip 96GB"),
        ("NVIDIA L40S", "NVIDIA L40S"),
        ("NVIDIA L4", "NVIDIA L4"),
        ("NVIDIA RTX A5000", "NVIDIA RTX A5000 GPU"),
        ("Tesla T4", "Tesla T4"),
    ],
)
def test_accelerators_by_the_names_of_drivers(driver: str, known: str) -> None:
    """A driver's name finds the results of the same board."""
    assert published.accelerator(driver) == known


@pytest.mark.parametrize(
    "driver",
    [
        *("NVIDIA H200 NVL", "NVIDIA GH200 144G HBM3e", "NVIDIA L40", "NVIDIA T4G", "NVIDIA T400 4GB", "NVIDIA H20", "NVIDIA H800"),
        *("NVIDIA RTX 5000 Ada Generation", "NVIDIA RTX A5000 Laptop GPU", "NVIDIA A100-SXM4-80GB", "NVIDIA B200", "NVIDIA H100 64GB HBM2"),
        *("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "GRID T4-16Q", "AMD Instinct MI300X", "Intel(R) Xeon(R) Platinum 8592+", ""),
    ],
)
def test_accelerators_without_results(driver: str) -> None:
    """What only resembles one of them, or is a part of one, is none of them."""
    assert published.accelerator(driver) is None


def test_every_published_name_finds_itself() -> None:
    """The results' own names are names of accelerators."""
    names = {each.accelerator for each in published.results() if each.accelerator}
    assert {published.accelerator(name) for name in names} == names


@pytest.mark.parametrize(
    ("value", "word"), [(8630 * 0.971, "within"), (8630 * 0.969, "below"), (9110 * 1.029, "within"), (9110 * 1.031, "above")]
)
def test_range_is_widened_by_the_spread_of_submitters(value: float, word: str) -> None:
    """3 % below the lowest and above the highest are still within."""
    assert published.standing(value, published.of(SXM, "bert-99", "offline")).word == word


def test_latency_is_better_when_it_is_lower() -> None:
    """Single-stream on an L40S: 1.2 ms is below the published 1.12 ms in quality, 1.0 ms above."""
    against = published.of("NVIDIA L40S", "bert-99", "single-stream")
    slow, fast = published.standing(1.2, against), published.standing(1.0, against)
    assert (slow.word, fast.word) == ("below", "above")
    assert slow.off == pytest.approx(1.118678 / 1.2 - 1)
    assert "the only published result" in slow.text


def test_power_capped_systems_do_not_widen_the_range() -> None:
    """The H200 has one system that saves power: its figure is named when it is nearest, and is not the lower end."""
    standing = published.standing(6800.0, published.of("NVIDIA H200-SXM-141GB", "bert-99", "offline"))
    assert (standing.n, standing.word, standing.nearest.note) == (5, "below", "power-capped")
    assert standing.low > 8700


def test_rates_are_of_one_accelerator() -> None:
    """A system of eight is divided by eight, so that one GPU stands among them."""
    nearest = published.standing(8800.0, published.of(SXM, "bert-99", "offline")).nearest
    assert nearest.comparable == pytest.approx(nearest.value / nearest.accelerators)
    assert nearest.accelerators in (4, 8)


def test_open_division_only_where_there_is_no_closed() -> None:
    """The T4 has one open result, and it counts; the H100's are all closed."""
    assert [each.division for each in published.of("Tesla T4", "bert-99", "offline")] == ["open"]
    assert published.of("Tesla T4", "bert-99.9", "offline") == []
    with pytest.raises(ValueError, match="nothing published"):
        published.standing(1.0, [])


def test_benchmark_by_accuracy_target() -> None:
    """0.99 of the FP32 score is bert-99, 0.999 is bert-99.9."""
    assert [published.benchmark(target) for target in (0.99, 0.999)] == ["bert-99", "bert-99.9"]
