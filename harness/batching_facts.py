"""The batching policy as run.json keeps it: told in words, and held against that of another run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import units


def told(config: Mapping[str, Any]) -> str:
    """The policy of a run, for its card: "sorted, max-batch 32, 1,024 tokens a call, padded to multiples of 8". `config`: of its Run."""
    policy = _policy(config)
    parts = [policy["kind"], f"max-batch {units.count(policy['max_batch'])}"]
    if policy["max_tokens"]:
        parts.append(f"{units.plural(policy['max_tokens'], 'token')} a call")
    if policy["wait_ns"]:
        parts.append(f"waiting up to {units.time_ns(policy['wait_ns'])}")
    return ", ".join([*parts, f"padded to {_padded_to(policy)}"])


def policy_difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """What differs between the policies of two runs, the first named first; empty where they batched alike. `a`, `b`: `config` of a Run."""
    one, other = _figures(a), _figures(b)
    return "; ".join(f"{name} {one[name]} against {other[name]}" for name in one if one[name] != other[name])


def _figures(config: Mapping[str, Any]) -> dict[str, str]:
    policy = _policy(config)
    return {
        "batching": policy["kind"],
        "max-batch": units.count(policy["max_batch"]),
        "max-batch-tokens": units.count(policy["max_tokens"]) if policy["max_tokens"] else "without limit",
        "batch-wait": units.time_ns(policy["wait_ns"]) if policy["wait_ns"] else "none",
        "padding to": _padded_to(policy),
    }


def _policy(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was resolved; a run from before it was recorded had no limit of tokens and padded to multiples of 8."""
    found = config.get("resolved", {}).get("batching")
    if found is not None:
        policy: Mapping[str, Any] = found
        return policy
    return {
        "kind": config.get("batching", "sorted"),
        "max_batch": config.get("max_batch", 32),
        "wait_ns": round(config.get("batch_wait", 0.0) * 1e6),
        "max_tokens": 0,
        "pad_to": 8,
    }


def _padded_to(policy: Mapping[str, Any]) -> str:
    if policy["kind"] == "fixed":
        return "the task's maximum length"
    lengths = policy["pad_to"]
    return f"multiples of {lengths}" if isinstance(lengths, int) else ", ".join(map(str, lengths))
