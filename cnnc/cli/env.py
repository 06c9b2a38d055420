"""`cnnc env`: versions, this machine as cnnc sees it, and the CNNC_* knobs."""

import os
import platform
from importlib.metadata import version
from textwrap import wrap

import click

from cnnc import driver, gpu
from cnnc.base.report import Json
from cnnc.base.target import Target
from cnnc.cache import open_cache
from cnnc.cli.console import print_json, say, working
from cnnc.cli.options import json_option, target_option
from cnnc.machine import llvm_version
from cnnc.options import KNOBS, read_knobs
from cnnc.table import Column, bytes_text, format_table
from cnnc.version import __version__

LIBRARIES = ("numpy", "llvmlite", "lark", "safetensors", "pillow", "click", "rich")
WIDTH = 100
DOC = 64
"""Characters of a line, and of a line about a variable, so that a table fits a terminal."""


@click.command(short_help="Versions, machine, targets, environment variables.")
@target_option
@click.option("--peak", is_flag=True, help="Measure the multiply-add peak, on 1 and all cores.")
@json_option
def env(target: str, peak: bool, as_json: bool) -> None:
    """Show versions, the machine as cnnc sees it, targets, and environment variables."""
    read_knobs()
    machine = driver.find_target(target)
    facts = _facts(target, machine)
    if peak:
        facts |= _peaks(machine)
    if as_json:
        print_json(_as_json(facts))
        return
    for name, value in facts.items():
        say("\n".join(_lines(name, value)))
    say()
    say(_knobs())


def _lines(name: str, value: str) -> list[str]:
    """A fact, its value broken at spaces only: paths stay whole."""
    head, room = f"{name:19}", WIDTH - 19
    first, *more = wrap(value, room, break_long_words=False, break_on_hyphens=False) or [""]
    return [f"{head}{first}".rstrip(), *(" " * len(head) + line for line in more)]


def _knobs() -> str:
    columns = [Column(title) for title in ("variable", "meaning, values")]
    rows = []
    for knob in KNOBS:
        value = os.environ.get(knob.name)
        first, *more = wrap(knob.doc, DOC)
        rows.append([knob.name, first])
        rows += [["", line] for line in more]
        rows.append(["", f"  {knob.accepts}; {f'set to {value}' if value else 'not set'}"])
    return format_table(columns, rows)


def _facts(name: str, machine: Target) -> dict[str, str]:
    kept = open_cache()
    found, nvcc = gpu.find_gpu()
    caches = (("L1", machine.l1_bytes), ("L2", machine.l2_bytes), ("L3", machine.l3_bytes))
    facts = {
        "cnnc": __version__,
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
        "llvm": ".".join(map(str, llvm_version())),
        "system": platform.platform(),
        "targets": ", ".join(driver.target_names()),
        "cpus": ", ".join(driver.cpu_names(name)),
        **({"precisions": ", ".join(gpu.precision_names())} if machine.is_gpu else {}),
        "backends": ", ".join(driver.BACKEND_NAMES),
        "triple": machine.triple,
        "cpu": machine.cpu,
        "vectors": f"{machine.vector_registers} of {machine.vector_bits} bits{_fused(machine)}",
        "caches": ", ".join(f"{level} {bytes_text(size)}" for level, size in caches if size),
        "cores": f"{machine.cores}{', of several kinds' * machine.mixed_cores}",
        "gpu": f"{found.name}, sm_{found.arch}" if found else "none",
        "nvcc": str(nvcc.path) if nvcc else "none",
        "cache": str(kept.folder) if kept else "off",
        "runs here": "yes" if driver.can_run(machine) else "no",
        "features": " ".join(f[1:] for f in machine.features.split(",") if f.startswith("+")),
    }
    return facts


def _fused(machine: Target) -> str:
    """How many multiply-adds begin in a cycle, where there are vectors."""
    if not machine.has_fma:
        return ""
    many = machine.vector_units
    a_cycle = f", {many} fused multiply-add{'s' * (many > 1)} a cycle"
    return a_cycle if machine.vector_bits > 32 and not machine.is_gpu else ", fused multiply-add"


def _peaks(machine: Target) -> dict[str, str]:
    peaks: dict[str, str] = {}
    with working("measuring the peak"):
        for threads in sorted({1, machine.cores}):
            found = driver.measure_peak(machine, threads)
            noun = "thread" if threads == 1 else "threads"
            peaks[f"peak, {threads} {noun}"] = f"{found.gflops:.1f} GFLOP/s"
            peaks[f"reads, {threads} {noun}"] = ", ".join(
                f"{each.level} {each.gb_per_s:.0f} GB/s" for each in found.bandwidths
            )
    return peaks


def _as_json(facts: dict[str, str]) -> Json:
    knobs: list[Json] = [
        {
            "name": knob.name,
            "value": os.environ.get(knob.name, ""),
            "accepts": knob.accepts,
            "default": knob.default,
            "doc": knob.doc,
        }
        for knob in KNOBS
    ]
    return {"ok": True, **facts, "knobs": knobs}
