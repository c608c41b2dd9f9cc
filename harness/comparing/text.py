"""A comparison as text: one table with a word for each ratio, the winner, and what speaks against believing it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from harness import units
from harness.batching_facts import policy_difference
from harness.compare import Ratio
from harness.comparing.results import Candidate, Cell, Comparison, Figure

_HEAD = ("candidate", "accuracy", "padding")


def table(found: Comparison) -> list[tuple[str, ...]]:
    """Heading and one row a candidate: its name, each figure with ratio, interval and word, accuracy, padding."""
    heading = (_HEAD[0], *(figure.name.replace("_per_second", "/s") for figure in found.figures), *_HEAD[1:])
    return [heading, *(_row(found, number) for number in range(len(found.candidates)))]


def terminal(found: Comparison, warnings: Sequence[str]) -> str:
    """For a screen, ending in a newline."""
    rows = table(found)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([*lines, "", *sentences(found), *(f"warning: {line}" for line in warnings)]) + "\n"


def markdown(found: Comparison, warnings: Sequence[str], title: str) -> str:
    """For a pull request, ending in a newline. A candidate that does not count is struck out."""
    heading, *rows = table(found)
    shown = [
        "| " + " | ".join(cell if each.counts or not column else f"~~{cell}~~" for column, cell in enumerate(row)) + " |"
        for row, each in zip(rows, found.candidates, strict=True)
    ]
    lines = ["| " + " | ".join(heading) + " |", "|" + "---|" * len(heading), *shown]
    said = [*sentences(found), *(f"warning: {line}" for line in warnings)]
    return "\n".join([f"# {title}", "", *lines, "", *(f"- {line}" for line in said)]) + "\n"


def sentences(found: Comparison) -> list[str]:
    """The winner, how sure it is, and what each candidate that does not count lacks."""
    said = [_winner(found), _how(found)]
    for each in found.candidates:
        if each.problem:
            said.append(f"{each.name} does not count: {each.problem}")
        elif not each.counts and each.accuracy is not None:
            said.append(f"{each.name} does not count: {each.accuracy.metric} {each.accuracy.value:.3f} misses {each.accuracy.target:.3f}")
    return [*said, *_policies(found)]


def _policies(found: Comparison) -> Iterator[str]:
    """A ratio between candidates that batch differently compares that, too."""
    reference = found.candidates[found.reference]
    for each in found.candidates:
        if difference := policy_difference(_batching(each), _batching(reference)):
            yield f"{each.name} batches otherwise than {reference.name} ({difference}): the ratio compares both"


def _batching(candidate: Candidate) -> dict[str, Any]:
    return {"resolved": {"batching": candidate.policy}}


def _winner(found: Comparison) -> str:
    best = found.best()
    if found.interrupted:
        return "interrupted: nothing is recommended"
    if best is None:
        return "no candidate counts: nothing can be recommended"
    first, alike = best
    name = found.candidates[first].name
    if alike:
        return f"{name} is ahead, but cannot be told from {' and '.join(found.candidates[number].name for number in alike)}"
    checked = found.candidates[first].accuracy is not None
    return f"fastest with its accuracy met: {name}" if checked else f"fastest, accuracy not checked: {name}"


def _how(found: Comparison) -> str:
    floor = f"; differences below {found.floor:.1%} are this machine's noise" if found.floor else ""
    uncertain = [figure.name for figure in found.figures if _uncertain(found, figure)]
    few = f"; ? marks percentiles of too few queries a block ({', '.join(uncertain)})" if uncertain else ""
    return (
        f"{units.plural(found.blocks, 'block')}, {units.seconds(found.total_seconds())} measured; medians of blocks, ratios "
        f"(geometric means) to {found.candidates[found.reference].name}, 95 % bootstrap intervals over blocks{floor}{few}"
    )


def _uncertain(found: Comparison, figure: Figure) -> bool:
    cells = [found.cell(number, figure) for number in range(len(found.candidates))]
    return any(cell is not None and not cell.certain for cell in cells)


def _row(found: Comparison, number: int) -> tuple[str, ...]:
    each = found.candidates[number]
    figures = tuple(_cell(found.cell(number, figure), figure) for figure in found.figures)
    padding = f"{each.padding_share:.1%}" if each.padding_share is not None else "-"
    return each.name + ("" if each.counts else " (does not count)"), *figures, _accuracy(found, number), padding


def _cell(cell: Cell | None, figure: Figure) -> str:
    if cell is None:
        return "-"
    value = units.number(cell.median) if figure.share is None else units.time_ns(cell.median)
    mark = "" if cell.certain else "?"
    if cell.ratio is None:
        return f"{value}{mark} (reference)"
    return f"{value}{mark} ({ratio(cell.ratio)} {cell.word})"


def ratio(found: Ratio) -> str:
    """ "1.93x [1.89, 1.97]"."""
    return f"{found.value:.2f}x [{found.low:.2f}, {found.high:.2f}]"


def _accuracy(found: Comparison, number: int) -> str:
    scored = found.candidates[number].accuracy
    if scored is None:
        return "not checked"
    if scored.passed is None or not scored.reference:
        return f"{scored.metric} {scored.value:.2f}"
    word = "met" if scored.passed else "MISSED"
    gap = f", gap {scored.paired.gap:+.2f}" if scored.paired is not None else ""
    interval = scored.paired.gap_interval if scored.paired is not None else None
    between = f" [{interval[0]:+.2f}, {interval[1]:+.2f}]" if interval is not None else ""
    flips = f", {scored.paired.flips_to_wrong} flips" if scored.paired is not None and scored.paired.flips_to_wrong is not None else ""
    return f"{scored.metric} {scored.value:.2f}, {scored.value / scored.reference:.2%} of FP32 {word}{gap}{between}{flips}"
