"""What is asked of an NVIDIA GPU, one function of the management library (NVML) for each column, and what is asked once.

Each function gets the module `pynvml` and the handle of a GPU. Only functions that read are named here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Ask = Callable[[Any, Any], float]


@dataclass(frozen=True, slots=True)
class Metric:
    """`thorough`: changes slowly, asked with thorough readings only."""

    name: str
    unit: str
    ask: Ask
    thorough: bool = False


def _event_reasons(nvml: Any, gpu: Any) -> float:
    """The name since driver 535; before it, the older one."""
    try:
        return float(nvml.nvmlDeviceGetCurrentClocksEventReasons(gpu))
    except nvml.NVMLError_FunctionNotFound:
        return float(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu))


def _ecc(kind: str, counter: str) -> Ask:
    def ask(nvml: Any, gpu: Any) -> float:
        kinds = {"corrected": nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED, "uncorrected": nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED}
        counters = {"volatile": nvml.NVML_VOLATILE_ECC, "aggregate": nvml.NVML_AGGREGATE_ECC}
        return float(nvml.nvmlDeviceGetTotalEccErrors(gpu, kinds[kind], counters[counter]))

    return ask


def _retired_pages(nvml: Any, gpu: Any) -> float:
    causes = (nvml.NVML_PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS, nvml.NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR)
    return float(sum(len(nvml.nvmlDeviceGetRetiredPages(gpu, cause)) for cause in causes))


METRICS = (
    Metric("sm_mhz", "MHz", lambda nvml, gpu: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM)),
    Metric("memory_mhz", "MHz", lambda nvml, gpu: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_MEM)),
    Metric("throttle_reasons", "bit mask", _event_reasons),
    Metric("celsius", "°C", lambda nvml, gpu: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU)),
    Metric("watts", "W", lambda nvml, gpu: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000),
    Metric("joules", "J", lambda nvml, gpu: nvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1000),
    Metric("busy_share", "1", lambda nvml, gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100),
    Metric("memory_busy_share", "1", lambda nvml, gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).memory / 100),
    Metric("memory_used_bytes", "bytes", lambda nvml, gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).used),
    Metric("pcie_generation", "generation", lambda nvml, gpu: nvml.nvmlDeviceGetCurrPcieLinkGeneration(gpu)),
    Metric("pcie_lanes", "lanes", lambda nvml, gpu: nvml.nvmlDeviceGetCurrPcieLinkWidth(gpu)),
    Metric("ecc_corrected", "errors", _ecc("corrected", "volatile"), thorough=True),
    Metric("ecc_uncorrected", "errors", _ecc("uncorrected", "volatile"), thorough=True),
    Metric("ecc_corrected_ever", "errors", _ecc("corrected", "aggregate"), thorough=True),
    Metric("ecc_uncorrected_ever", "errors", _ecc("uncorrected", "aggregate"), thorough=True),
    Metric("retired_pages", "pages", _retired_pages, thorough=True),
    Metric("remapped_rows", "rows", lambda nvml, gpu: sum(nvml.nvmlDeviceGetRemappedRows(gpu)[:2]), thorough=True),
)
"""ECC errors: since the driver was loaded, and over the life of the GPU (`_ever`)."""


FACTS: dict[str, Callable[[Any, Any], Any]] = {
    "name": lambda nvml, gpu: nvml.nvmlDeviceGetName(gpu),
    "uuid": lambda nvml, gpu: nvml.nvmlDeviceGetUUID(gpu),
    "serial": lambda nvml, gpu: nvml.nvmlDeviceGetSerial(gpu),
    "bus_id": lambda nvml, gpu: bus_id(nvml, gpu),
    "sm_max_mhz": lambda nvml, gpu: nvml.nvmlDeviceGetMaxClockInfo(gpu, nvml.NVML_CLOCK_SM),
    "memory_max_mhz": lambda nvml, gpu: nvml.nvmlDeviceGetMaxClockInfo(gpu, nvml.NVML_CLOCK_MEM),
    "memory_total_bytes": lambda nvml, gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).total,
    "power_limit_watts": lambda nvml, gpu: nvml.nvmlDeviceGetEnforcedPowerLimit(gpu) / 1000,
    "slowdown_celsius": lambda nvml, gpu: nvml.nvmlDeviceGetTemperatureThreshold(gpu, nvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN),
    "shutdown_celsius": lambda nvml, gpu: nvml.nvmlDeviceGetTemperatureThreshold(gpu, nvml.NVML_TEMPERATURE_THRESHOLD_SHUTDOWN),
    "pcie_max_generation": lambda nvml, gpu: nvml.nvmlDeviceGetMaxPcieLinkGeneration(gpu),
    "pcie_max_lanes": lambda nvml, gpu: nvml.nvmlDeviceGetMaxPcieLinkWidth(gpu),
    "ecc": lambda nvml, gpu: bool(nvml.nvmlDeviceGetEccMode(gpu)[0]),
    "mig": lambda nvml, gpu: bool(nvml.nvmlDeviceGetMigMode(gpu)[0]),
    "row_remap_pending": lambda nvml, gpu: bool(nvml.nvmlDeviceGetRemappedRows(gpu)[2]),
    "row_remap_failed": lambda nvml, gpu: bool(nvml.nvmlDeviceGetRemappedRows(gpu)[3]),
}


def bus_id(nvml: Any, gpu: Any) -> str:
    """Its place on the PCI bus: "00000000:3B:00.0"."""
    place = nvml.nvmlDeviceGetPciInfo(gpu).busId
    return place.decode() if isinstance(place, bytes) else str(place)


def users(nvml: Any, gpu: Any) -> Sequence[int]:
    """Process ids with a compute context on the GPU, as the driver numbers them: in a container they may be those of the host."""
    return [process.pid for process in nvml.nvmlDeviceGetComputeRunningProcesses(gpu)]
