"""What the system files of Linux say about this machine that a run's conditions do not hold. What cannot be read is an empty string."""

from __future__ import annotations

from pathlib import Path

_IGNORED = ("loop", "ram", "zram", "dm-", "md", "sr", "nbd", "fd")
"""Block devices that are no storage of their own."""

_SECTOR = 512
"""Bytes; the unit of /sys/block/*/size whatever the device's own sector is."""


def sockets(root: Path = Path("/sys")) -> int | None:
    """Processor packages."""
    found = {_read(file) for file in root.glob("devices/system/cpu/cpu[0-9]*/topology/physical_package_id")} - {""}
    return len(found) or None


def frequency(root: Path = Path("/sys")) -> str:
    """Highest frequency of the first processor: "3.40 GHz (maximum)"."""
    kilohertz = _read(root / "devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")
    return f"{int(kilohertz) / 1e6:.2f} GHz (maximum)" if kilohertz.isdigit() else ""


def caches(root: Path = Path("/sys")) -> str:
    """Caches that the first processor sees: "L1d 32K, L1i 32K, L2 1024K, L3 32768K"."""
    names = []
    for folder in sorted((root / "devices/system/cpu/cpu0/cache").glob("index[0-9]*")):
        kind = {"Data": "d", "Instruction": "i"}.get(_read(folder / "type"), "")
        names.append(f"L{_read(folder / 'level')}{kind} {_read(folder / 'size')}")
    return ", ".join(names)


def storage(root: Path = Path("/sys")) -> tuple[str, str]:
    """Capacity and kinds of the block devices: ("2.0 TB", "NVMe SSD"); empty where there are none."""
    total, kinds = 0, []
    for device in sorted((root / "block").glob("*")):
        size = _read(device / "size")
        if device.name.startswith(_IGNORED) or not size.isdigit() or size == "0":
            continue
        total += int(size) * _SECTOR
        kinds.append(_kind(device))
    return (_amount(total), ", ".join(dict.fromkeys(kinds))) if total else ("", "")


def _kind(device: Path) -> str:
    if device.name.startswith("nvme"):
        return "NVMe SSD"
    if device.name.startswith(("vd", "xvd")):
        return "virtual disk"
    return "HDD" if _read(device / "queue" / "rotational") == "1" else "SSD"


def _amount(size: int) -> str:
    return f"{size / 1e12:.1f} TB" if size >= 1e12 else f"{size / 1e9:.1f} GB"


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
