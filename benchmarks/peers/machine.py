"""What the benchmark ran on."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    *("cnnc", "llvmlite", "numpy", "onnx", "onnxruntime", "openvino", "torch", "ncnn", "pnnx"),
    *("ai-edge-litert", "litert-torch"),
)


def describe_machine() -> Mapping[str, object]:
    """Processor, cores, system and the versions of what is installed."""
    return {
        "cpu": cpu_name(),
        "cores": len(available_cores()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def cpu_name() -> str:
    """The processor as the system calls it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    fields = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    known = {key.strip(): value.strip() for key, value in fields.items()}
    if "model name" not in known:
        return platform.processor() or platform.machine()
    numbers = "/".join(known.get(key, "?") for key in ("cpu family", "model", "stepping"))
    return f"{known['model name']} ({numbers})"


def available_cores() -> list[int]:
    """The cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
