"""What a comparison says in sentences, from the record in comparison.json: who is fastest, how sure that is, who does not count. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness import units
from harness.batching_facts import policy_difference

Record = Mapping[str, Any]


def told(record: Record) -> list[str]:
    """The winner, how sure it is, what each candidate that does not count lacks, and what a ratio compares besides."""
    return [winner(record), how(record), *_refused(record), *_policies(record), *record.get("differences", ())]


def winner(record: Record) -> str:
    """Who is recommended, if anybody."""
    if not record["complete"]:
        return "interrupted: nothing is recommended"
    if record["winner"] is None:
        return "no candidate counts: nothing can be recommended"
    if record["indistinguishable"]:
        return f"{record['winner']} is ahead, but cannot be told from {' and '.join(record['indistinguishable'])}"
    found = next(each for each in record["candidates"] if each["name"] == record["winner"])["accuracy"]
    if found is None:
        return f"fastest, accuracy not checked: {record['winner']}"
    if found["target"] is None:
        return f"fastest, accuracy without a target ({_score(found)}): {record['winner']}"
    return f"fastest with its accuracy met ({_score(found)}, target {units.score(found['target'])}): {record['winner']}"


def _score(accuracy: Record) -> str:
    return f"{accuracy['metric']} {units.score(accuracy['value'])}"


def how(record: Record) -> str:
    """Blocks, time and what the intervals are."""
    floor = f"; differences below {units.share(record['floor'])} are this machine's noise" if record["floor"] else ""
    uncertain = [figure["name"] for figure in record["figures"] if _uncertain(record, figure["name"])]
    few = f"; ? marks percentiles of too few queries a block ({', '.join(uncertain)})" if uncertain else ""
    return (
        f"{units.plural(record['blocks'], 'block')}, {units.seconds(measured_s(record))} measured; medians of blocks, ratios "
        f"(geometric means) to {record['reference']}, 95 % bootstrap intervals over blocks{floor}{few}"
    )


def measured_s(record: Record) -> float:
    """Seconds of all visits together."""
    found = record.get("measured_s")
    return float(found if found is not None else sum(visit["seconds"] for visit in record["visits"]))


def lacks(candidate: Record) -> str:
    """Why a candidate does not count; empty for one that does."""
    if candidate["problem"]:
        return str(candidate["problem"])
    accuracy = candidate["accuracy"]
    if candidate["counts"] or accuracy is None:
        return ""
    return f"{_score(accuracy)} misses {units.score(accuracy['target'])}"


def _refused(record: Record) -> Iterator[str]:
    for each in record["candidates"]:
        if why := lacks(each):
            yield f"{each['name']} does not count: {why}"


def _policies(record: Record) -> Iterator[str]:
    """A ratio between candidates that batch differently compares that, too."""
    reference = next(each for each in record["candidates"] if each["name"] == record["reference"])
    for each in record["candidates"]:
        if difference := policy_difference(batching(each), batching(reference)):
            yield f"{each['name']} batches otherwise than {reference['name']} ({difference}): the ratio compares both"


def batching(candidate: Record) -> dict[str, Any]:
    """Its policy where `harness.batching_facts` looks for one."""
    return {"resolved": {"batching": candidate["policy"]}}


def _uncertain(record: Record, figure: str) -> bool:
    found = [each["results"].get(figure) for each in record["candidates"]]
    return any(result is not None and not result["certain"] for result in found)
