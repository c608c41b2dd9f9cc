"""What a card says of a run's arithmetic and of its model."""

from __future__ import annotations

from harness import card
from tests import example_runs

PEAK = example_runs.VALID.conditions["peak"]


def rows(**changes: object) -> dict[str, str]:
    return dict(card.make(example_runs.changed(example_runs.VALID, **changes)).rows)


def test_the_share_names_its_peak_and_what_disturbed_it() -> None:
    """Precision, value and threads of the peak; a GPU has no threads, and a peak measured beside other work is marked."""
    assert rows()["arithmetic"].startswith("138 G operations/s, 71.0 % of the measured FP32 peak of 195 G/s with 2 threads; 5.8 %")
    gpu = rows(backend={"device": "cuda:0"}, conditions={"peak": {**PEAK, "precision": "bf16", "operations_per_second": 7.9e14}})
    assert "of the measured BF16 peak of 790 T/s; " in gpu["arithmetic"]
    assert "with 2 threads (measured beside other work)" in rows(conditions={"peak": {**PEAK, "quiet": False}})["arithmetic"]


def test_without_a_peak_the_rate_stands_alone() -> None:
    """No share, no padding, then no row at all."""
    found = {"peak_share": None, "operations_padding_share": 0.0}
    assert rows(throughput=found)["arithmetic"] == "138 G operations/s"
    assert "arithmetic" not in rows(throughput={**found, "operations_per_second": None})


def test_a_model_without_operations_has_no_row() -> None:
    """Sizes and operations stand together; memory is left out where it is not known."""
    assert rows()["model"] == "22.6 M parameters, 90.3 MB on disk, 181 MB of resident memory; 4.59 G operations a sample"
    assert "memory" not in rows(model={"bytes_in_memory": None})["model"]
    assert "model" not in rows(model={"operations_per_sample": None})
