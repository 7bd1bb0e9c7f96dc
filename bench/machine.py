"""What a number was measured on: a number without its machine is not a number."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("streamlit", "xllamacpp", "chromadb", "torch")


def describe() -> dict[str, object]:
    """Processor, cores, load, system, versions and date."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def line(machine: dict[str, object]) -> str:
    """The same in one line for a person."""
    return (
        f"{machine['processor']}, {machine['cores']} cores (load {machine['load']}), "
        f"Python {machine['python']}, {str(machine['date'])[:10]}"
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for entry in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if entry.startswith("model name"):
                return entry.partition(":")[2].strip()
    return platform.processor() or platform.machine()
