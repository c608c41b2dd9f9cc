"""The GPUs of this machine against each other, by what the other checks measured."""

from __future__ import annotations

from harness.qualifying import gpus
from harness.qualifying.check import Check, Context, Finding


def run(context: Context) -> Finding:
    return gpus.compare(context.keep.get("findings", ()))


GPU_PEERS = Check(
    code="GPU_UNLIKE_PEERS",
    name="gpu_peers",
    title="GPUs against each other",
    required=False,
    levels=("quick", "standard", "long"),
    seconds=0.1,
    run=run,
    last=True,
)
