"""`prepare`: fetch and verify the model and tokenise the data now, so that a run starts at once."""

from __future__ import annotations

import argparse
import time

from harness.config import OWN
from harness.errors import ExitCode
from harness.flags import Parser, add_config_file, add_settings, settings

FIELDS = ("task", "model", "data", "allow_pickle", "offline", *OWN)


def add_arguments(parser: Parser) -> None:
    add_config_file(parser)
    add_settings(parser, FIELDS)


def execute(arguments: argparse.Namespace) -> int:
    from harness import inputs, models, units
    from harness.config import load

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
    return int(ExitCode.OK)
