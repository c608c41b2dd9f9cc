"""The tables of a comparison, from the record in comparison.json: candidates by figures, accuracy, how they ran, versions. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness import card, units
from harness.batching_facts import told
from harness.comparing.sentences import Record, batching, lacks
from harness.document import Cell, Column, Table, Tone

_TONES: dict[str, Tone] = {"faster": "good", "slower": "bad", "undecided": "doubtful"}


def matrix(record: Record) -> Table:
    """Candidates by figures: the median with ratio, interval and word, accuracy, padding."""
    figures = record["figures"]
    columns = [Column("candidate"), *(Column(headed(each["name"]), each["unit"]) for each in figures)]
    padded = any(each["padding_share"] is not None for each in record["candidates"])
    rows = [
        [_name(record, each), *(_result(each, figure) for figure in figures), _scored(each), *([_padding(each)] if padded else [])]
        for each in record["candidates"]
    ]
    return Table(
        "matrix",
        f"Candidates against {record['reference']}",
        [*columns, Column("accuracy", "points"), *([Column("padding", "share")] if padded else [])],
        rows,
        "Medians of blocks; below them the ratio to the reference with its 95 % interval.",
    )


def headed(figure: str) -> str:
    """ "samples_per_second" -> "samples/s"; percentiles as they are called."""
    return figure.replace("_per_second", "/s")


def value(result: Record, figure: Record) -> str:
    """A median in words, with ? behind a percentile of too few queries."""
    text = units.number(result["median"]) if figure["share"] is None else units.time_ns(result["median"])
    return text if result["certain"] else f"{text}?"


def ratio(found: Record) -> str:
    """ "1.93x [1.89, 1.97]"."""
    return f"{found['value']:.2f}x [{found['low']:.2f}, {found['high']:.2f}]"


def _name(record: Record, candidate: Record) -> Cell:
    name = candidate["name"]
    if not candidate["counts"]:
        return Cell(name, name, f"does not count: {lacks(candidate)}", "bad", struck=False)
    notes = [word for word, said in (("reference", name == record["reference"]), (_place(record), name == record["winner"])) if said]
    return Cell(name, name, ", ".join(notes), "good" if name == record["winner"] else "plain")


def _place(record: Record) -> str:
    return "ahead" if record["indistinguishable"] else "fastest"


def _result(candidate: Record, figure: Record) -> Cell:
    result, name = candidate["results"].get(figure["name"]), headed(figure["name"])
    if result is None:
        return Cell("-")
    found, struck = result["ratio"], not candidate["counts"]
    if found is None:
        return Cell(value(result, figure), result["median"], struck=struck)
    more = {f"{name} {key}": found[source] for key, source in (("ratio", "value"), ("ratio low", "low"), ("ratio high", "high"))}
    tone = "plain" if struck else _TONES.get(result["word"], "plain")
    note = ratio(found) if struck else f"{ratio(found)} {result['word']}"
    return Cell(value(result, figure), result["median"], note, tone, struck, more={**more, f"{name} word": result["word"]})


def _scored(candidate: Record) -> Cell:
    accuracy = candidate["accuracy"]
    if accuracy is None:
        return Cell("not checked", None)
    text = f"{accuracy['metric']} {accuracy['value']:.2f}"
    if accuracy["passed"] is None or not accuracy["reference"]:
        return Cell(text, accuracy["value"])
    word = "met" if accuracy["passed"] else "MISSED"
    share = f"{units.share(accuracy['value'] / accuracy['reference'])} of FP32, {word}"
    more = {"accuracy target (points)": accuracy["target"], "accuracy met": accuracy["passed"]}
    return Cell(text, accuracy["value"], f"{share}{_gap(accuracy)}", "plain" if accuracy["passed"] else "bad", more=more)


def _gap(accuracy: Record) -> str:
    """ ", gap −0.40 [−1.59, +0.79], flips 2 to wrong, 1 to right"."""
    paired = accuracy.get("paired")
    if paired is None:
        return ""
    interval = paired["gap_interval"]
    between = f" [{signed(interval[0])}, {signed(interval[1])}]" if interval else ""
    wrong, right = (paired[key] for key in ("flips_to_wrong", "flips_to_right"))
    flips = f", flips {units.count(wrong)} to wrong, {units.count(right)} to right" if wrong is not None else ""
    return f", gap {signed(paired['gap'])}{between}{flips}"


def signed(points: float) -> str:
    """-0.4 -> "−0.40"; what is shown as 0 has no sign."""
    text = f"{abs(points):.2f}"
    return text if not float(text) else f"{'−' if points < 0 else '+'}{text}"


def _padding(candidate: Record) -> Cell:
    share = candidate["padding_share"]
    return Cell("-") if share is None else Cell(units.share(share), share)


# ------------------------------------------------------------------------------------------------------------------------ accuracy


def accuracy(record: Record) -> Table | None:
    """Answers of every candidate against those of FP32; None where nothing was checked."""
    scored = [(each["name"], each["accuracy"], each["counts"]) for each in record["candidates"] if each["accuracy"] is not None]
    if not scored:
        return None
    columns = [
        Column("candidate"),
        Column("score", "points"),
        Column("target", "points"),
        Column("examples"),
        Column("gap to FP32", "points"),
    ]
    columns += [Column("to wrong"), Column("to right"), Column("changed"), Column("McNemar p"), Column("verdict")]
    rows = [[Cell(name, name), *_points(found), *_pairs(found.get("paired") or {}), _verdict(found)] for name, found, _ in scored]
    return Table(
        "accuracy", "Accuracy", columns, rows, "Flips: answers that are right in FP32 and wrong here, or the other way round.", detail=True
    )


def _points(found: Record) -> Iterator[Cell]:
    interval, target = found.get("interval"), found["target"]
    note = f"[{interval[0]:.2f}, {interval[1]:.2f}]" if interval else ""
    more = {"score low (points)": interval[0], "score high (points)": interval[1]} if interval else {}
    yield Cell(f"{found['metric']} {units.score(found['value'])}", found["value"], note, more=more)
    yield Cell(units.score(target), target) if target is not None else Cell("-")
    yield Cell(units.count(found["samples"]), found["samples"])


def _pairs(paired: Record) -> Iterator[Cell]:
    gap, interval = paired.get("gap"), paired.get("gap_interval")
    note = f"[{signed(interval[0])}, {signed(interval[1])}]" if interval else ""
    more = {"gap low (points)": interval[0], "gap high (points)": interval[1]} if interval else {}
    yield Cell(signed(gap), gap, note, more=more) if gap is not None else Cell("-")
    for key in ("flips_to_wrong", "flips_to_right", "changed"):
        yield Cell(units.count(paired[key]), paired[key]) if paired.get(key) is not None else Cell("-")
    p = paired.get("mcnemar_p")
    yield Cell(units.number(p, 2), p) if p is not None else Cell("-")


def _verdict(found: Record) -> Cell:
    if found["passed"] is None:
        return Cell("no reference")
    word = (found.get("paired") or {}).get("word") or ("passed" if found["passed"] else "missed")
    return Cell(word, word, tone="good" if found["passed"] else "bad")


# ------------------------------------------------------------------------------------------------------------------------ how it ran

_RAN = ("runtime", "version", "precision", "device", "threads", "method")


def systems(record: Record) -> Table:
    """What each candidate says it is, and how it made batches."""
    columns = [Column("candidate"), *map(Column, _RAN), Column("batching"), Column("workers"), Column("settings of its own")]
    own = differing([each["settings"] for each in record["candidates"]])
    rows = [
        [Cell(each["name"], each["name"]), *(_plain(each["backend"].get(key)) for key in _RAN), *_how(each, own)]
        for each in record["candidates"]
    ]
    return Table("systems", "How they ran", columns, rows, detail=True)


def _how(candidate: Record, own: list[str]) -> Iterator[Cell]:
    policy = told(batching(candidate))
    yield Cell(policy, policy)
    yield _plain(candidate["settings"].get("workers"))
    said = ", ".join(f"{key} {candidate['settings'].get(key)}" for key in own if candidate["settings"].get(key) is not None)
    yield Cell(said or "-")


def differing(settings: list[Mapping[str, Any]]) -> list[str]:
    """Keys that do not have the same value in all, but for names and what every candidate says anyhow."""
    keys = dict.fromkeys(key for each in settings for key in each if key not in ("backend", "name", "out"))
    return [key for key in keys if any(each.get(key) != settings[0].get(key) for each in settings)]


def versions(record: Record) -> Table | None:
    """Libraries that are not of one version in all candidates; None where they are."""
    found = {each["name"]: _versions(each) for each in record["candidates"] if each.get("conditions")}
    names = differing(list(found.values())) if found else []
    if not names:
        return None
    rows = [[Cell(name, name), *(_plain(each.get(name)) for each in found.values())] for name in names]
    return Table("versions", "Versions that differ", [Column("what"), *map(Column, found)], rows)


def _versions(candidate: Record) -> dict[str, Any]:
    """Python, libraries and commit of the environment that a candidate ran in."""
    conditions = candidate["conditions"]
    git = conditions.get("git") or {}
    commit = card.commit(git) if git.get("commit") else None
    return {"python": conditions.get("python"), **(conditions.get("libraries") or {}), "commit": commit}


def _plain(found: Any) -> Cell:
    return Cell("-") if found is None else Cell(str(found), found if isinstance(found, str | int | float) else str(found))
