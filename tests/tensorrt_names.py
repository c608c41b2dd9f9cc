"""The names of TensorRT's Python API that Assay uses, and what a real module says of them.

`python -m tests.tensorrt_names MODULE` writes it as JSON; tests/golden/tensorrt_api.json holds the answers of four real versions. Standard
library only, and works on Python 3.10, where TensorRT 8.6 ends.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from typing import Any

CLASSES = {
    "Builder": "__init__ create_network create_builder_config create_optimization_profile build_serialized_network",
    "OnnxParser": "__init__ parse num_errors get_error",
    "ParserError": "desc",
    "IOptimizationProfile": "set_shape",
    "IBuilderConfig": (
        "add_optimization_profile set_flag clear_flag create_timing_cache set_timing_cache get_timing_cache "
        "profiling_verbosity progress_monitor set_preview_feature"
    ),
    "ITimingCache": "serialize",
    "Runtime": "__init__ deserialize_cuda_engine",
    "ICudaEngine": (
        "num_io_tensors get_tensor_name get_tensor_mode get_tensor_shape get_tensor_dtype create_execution_context "
        "create_execution_context_without_device_memory device_memory_size device_memory_size_v2 "
        "create_engine_inspector"
    ),
    "EngineInspector": "get_engine_information",
    "IExecutionContext": (
        "set_input_shape set_tensor_address set_optimization_profile_async execute_async_v3 device_memory set_device_memory"
    ),
    "INetworkDefinition": "num_inputs get_input num_layers get_layer",
    "ILayer": "type get_input get_output",
    "ITensor": "dtype name",
    "IProgressMonitor": "__init__ phase_start step_complete phase_finish",
    "ILogger": "__init__ log",
}
MEMBERS = [f"{owner}.{member}" for owner, members in CLASSES.items() for member in members.split()]
ENUMS = [
    "ILogger.Severity",
    "BuilderFlag",
    "NetworkDefinitionCreationFlag",
    "PreviewFeature",
    "ProfilingVerbosity",
    "LayerInformationFormat",
    "TensorIOMode",
    "DataType",
    "LayerType",
    "ExecutionContextAllocationStrategy",
]

PROPERTY = "property"


def observed(trt: Any) -> dict[str, Any]:
    """version; members (name: "property", or the argument names of each overload); enums (name: values by member). Absent: not there."""
    members = {name: _said(found) for name in MEMBERS if (found := _find(trt, name)) is not None}
    enums = {name: _values(found) for name in ENUMS if (found := _find(trt, name)) is not None}
    return {"version": trt.__version__, "members": members, "enums": enums}


def _find(trt: Any, dotted: str) -> Any:
    found = trt
    for part in dotted.split("."):
        found = inspect.getattr_static(found, part, None) if inspect.isclass(found) and part == "__init__" else getattr(found, part, None)
        if found is None:
            return None
    return found


def _said(found: Any) -> Any:
    """From the signatures that pybind11 writes into docstrings: `name(self: X, flags: int = 0) -> Y`."""
    if isinstance(found, property):
        return PROPERTY
    signatures = re.findall(r"^(?:\d+\. )?\w+\(self: (.*)\) ->", found.__doc__ or "", re.MULTILINE)
    return [re.findall(r", (\w+): ", signature) for signature in signatures]


def _values(found: Any) -> dict[str, int]:
    return {name: int(value) for name, value in found.__members__.items()}


if __name__ == "__main__":
    print(json.dumps(observed(importlib.import_module(sys.argv[1])), indent=1))
