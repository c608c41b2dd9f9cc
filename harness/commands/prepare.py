"""`prepare`: fetch and verify the model, tokenise the data, export, quantise and build engines now, so that a run starts at once."""

from __future__ import annotations

import argparse
import time

from harness.config import OWN
from harness.errors import ExitCode
from harness.flags import Parser, add_config_file, add_settings, settings

BACKEND_FIELDS = ("backend", "device", "calibration", "calibration_samples", "batching", "max_batch", "max_batch_tokens", "pad_to")
FIELDS = ("task", "model", "data", "allow_pickle", "offline", *BACKEND_FIELDS, *OWN)


def add_arguments(parser: Parser) -> None:
    add_config_file(parser)
    add_settings(parser, FIELDS)


def execute(arguments: argparse.Namespace) -> int:
    from harness import bench, inputs, models, units
    from harness.config import load
    from harness.progress import create

    config = load(settings(arguments), arguments.config)
    cache = models.default_cache()
    started = time.monotonic()
    inputs.check(config)
    model = inputs.find_model(config, cache=cache)
    resolved = time.monotonic()
    print(f"model {model.name}: {units.count(model.parameters)} parameters, {units.size(model.bytes)}, sha256 {model.sha256[:16]}")
    print(f"  verified in {units.seconds(resolved - started)}: {model.folder}")
    task = inputs.make_task(config, model, cache=cache)
    samples = task.samples
    print(f"task {task.name}: {task.data_name}, {units.plural(len(samples), 'sample')}, {units.count(int(samples.lengths.sum()))} tokens")
    print(f"  tokenised or read from the cache in {units.seconds(time.monotonic() - resolved)}: {inputs.features_folder(cache)}")
    if "backend" in settings(arguments) or arguments.config is not None:
        started = time.monotonic()
        bench.make_ready(bench.prepare(config, create("plain")), config.backend)
        print(f"backend {config.backend}: ready in {units.seconds(time.monotonic() - started)}")
    return int(ExitCode.OK)
