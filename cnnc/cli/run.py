"""`cnnc run`: arrays or images in, arrays out."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from cnnc.api import Array
from cnnc.arrays import Source, check_output, read_inputs, write_outputs
from cnnc.base.errors import fail
from cnnc.base.report import Json
from cnnc.binding import Binding
from cnnc.cli.console import print_json, remark, say
from cnnc.cli.options import (
    Net,
    PathType,
    compile_options,
    is_given,
    json_option,
    net_options,
    threads_of,
)
from cnnc.compare.report import number_json
from cnnc.files import keep_files
from cnnc.frontend.settings import Batch
from cnnc.network import Network
from cnnc.options import Options
from cnnc.table import Column, format_table, plural, seconds_text, shape_text

SHOWN = 8
"""Samples whose best classes are listed."""


@click.command(short_help="Run on arrays or images.")
@net_options
@click.option(
    "-i",
    "--input",
    "inputs",
    multiple=True,
    required=True,
    metavar="[NAME=]PATH",
    help="npy, npz, safetensors or an image; several for one input are joined.",
)
@click.option("-o", "--output", type=PathType(), help="Write .npz or .npy.")
@click.option("--labels", metavar="NAME", help="Array of the inputs' file with the true classes.")
@click.option("--top", default=0, metavar="K", help="List the K largest of each [N, C] output.")
@click.option(
    "--repeat",
    type=click.IntRange(min=1),
    metavar="K",
    help="Take the median time of K runs, after one that is not timed; else that of the first run.",
)
@compile_options()
@json_option
def run(
    file: Path,
    net: str | None,
    settings: tuple[str, ...],
    batch: Batch | None,
    inputs: tuple[str, ...],
    output: Path | None,
    labels: str | None,
    top: int,
    repeat: int | None,
    target: str,
    backend: str,
    threads: int,
    exact: bool,
    tuning: Path | None,
    as_json: bool,
) -> None:
    """Run a network on arrays or images.

    The time printed is that of the first run, in which threads start and memory is touched for the
    first time; `--repeat` tells what runs take after that, `cnnc bench` what each layer does.
    """
    if top < 0:
        raise fail("E0803", f"--top is {top}, it must be 0 or more")
    which = Net(file, net, settings, batch)
    options = Options(target, backend, threads, exact, tuning)
    compiled, files = which.network(options, threads_given=is_given("threads"))
    sources = [Source.parse(text) for text in inputs]
    given = read_inputs(compiled.interface, sources, labels)
    if output is not None:
        check_output(output, list(compiled.outputs))
        keep_files(output, (*files, *(source.path for source in sources)))
    for note in given.notes:
        remark(f"note: {note}")
    samples = Binding(compiled.interface).bind(given.arrays, {}).samples
    results, took = _run(compiled, given.arrays, repeat)
    if output is not None:
        write_outputs(output, results)
    accuracy = {} if given.labels is None else _accuracies(results, given.labels)
    if as_json:
        data = _as_json(results, samples, took, accuracy, top)
        written = None if output is None else str(output)
        print_json({"ok": True, "path": written, "threads": threads_of(compiled), **data})
    else:
        say(_as_text(results, samples, took, accuracy, top))


@dataclass(frozen=True, slots=True)
class _Took:
    """The median of so many runs, in seconds; None is the first run, with nothing before it."""

    seconds: float
    runs: int | None

    def __str__(self) -> str:
        if self.runs is None:
            return "the first run; --repeat times those that follow"
        return f"median of {plural(self.runs, 'run')}, after one that is not timed"


def _run(
    network: Network, arrays: Mapping[str, Array], repeat: int | None
) -> tuple[dict[str, Array], _Took]:
    """The results and how long they took."""
    if repeat is not None:
        network(arrays)
    times = []
    for _ in range(repeat or 1):
        start = time.perf_counter()
        results = network(arrays)
        times.append(time.perf_counter() - start)
    return results, _Took(float(np.median(times)), repeat)


def _as_text(
    results: dict[str, Array], samples: int, took: _Took, accuracy: dict[str, float], top: int
) -> str:
    columns = [
        Column("output"),
        Column("shape"),
        *(Column(t, True) for t in ("min", "mean", "max")),
    ]
    rows = []
    for name, array in results.items():
        low, mean, high = _summary(array)
        rows.append([name, shape_text(array.shape), f"{low:.6g}", f"{mean:.6g}", f"{high:.6g}"])
    lines = [format_table(columns, rows)]
    for name, array in results.items():
        if top and array.ndim == 2:
            lines += ["", f"{name}: the {top} largest", *_top_lines(array, top)]
    lines.append("")
    for name, share in accuracy.items():
        lines.append(f"{name}: {share:.2%} of {samples} right")
    each = f", {seconds_text(took.seconds / samples)} each" if samples > 1 else ""
    lines.append(f"{plural(samples, 'sample')} in {seconds_text(took.seconds)}{each} ({took})")
    return "\n".join(lines)


def _as_json(
    results: dict[str, Array], samples: int, took: _Took, accuracy: dict[str, float], top: int
) -> dict[str, Json]:
    outputs: dict[str, Json] = {}
    for name, array in results.items():
        low, mean, high = map(number_json, _summary(array))
        row: dict[str, Json] = {"shape": list(array.shape), "min": low, "mean": mean, "max": high}
        if top and array.ndim == 2:
            row["top"] = [[int(c) for c in _largest(sample, top)] for sample in array]
        outputs[name] = row
    return {
        "samples": samples,
        "seconds": took.seconds,
        "runs": took.runs or 1,
        "warmed_up": took.runs is not None,
        "outputs": outputs,
        "accuracy": {**accuracy},
    }


def _summary(array: Array) -> tuple[float, float, float]:
    if not array.size:
        return (float("nan"),) * 3
    with np.errstate(all="ignore"):
        wide = array.astype(np.float64)
        return float(wide.min()), float(wide.mean()), float(wide.max())


def _largest(sample: Array, count: int) -> Array:
    return np.argsort(-sample.astype(np.float64), kind="stable")[:count]


def _top_lines(array: Array, top: int) -> list[str]:
    lines = []
    for number, sample in enumerate(array[:SHOWN]):
        best = _largest(sample, top)
        shown = ", ".join(f"{place} ({sample[place]:.4g})" for place in best)
        lines.append(f"  sample {number}: {shown}")
    if len(array) > SHOWN:
        lines.append(f"  … {len(array) - SHOWN} more samples")
    return lines


def _accuracies(results: dict[str, Array], labels: Array) -> dict[str, float]:
    """Share of samples whose largest element is the label, for each [N, C] output."""
    found = {}
    for name, array in results.items():
        if array.ndim == 2 and array.shape[1] > 1:
            if labels.shape != array.shape[:1]:
                shape = shape_text(labels.shape)
                raise fail("E0601", f"the labels are {shape}, one for each sample is needed")
            known = np.isin(labels, np.arange(array.shape[1]))
            if not known.all():
                wrong = labels[~known][0]
                why = f"label {wrong} is none of the {array.shape[1]} classes of `{name}`"
                raise fail("E0601", why, help="labels are counted from 0")
            found[name] = float(np.mean(array.argmax(axis=1) == labels)) if len(labels) else 0.0
    if not found:
        raise fail("E0803", "no output is N×classes, so --labels has no meaning")
    return found
