"""`cnnc run`: arrays or images in, arrays out."""

import time
from pathlib import Path

import click
import numpy as np

from cnnc.api import Array
from cnnc.arrays import Source, check_output, read_inputs, write_outputs
from cnnc.base.errors import fail
from cnnc.base.report import Json
from cnnc.binding import Binding
from cnnc.cli.console import print_json, remark, say
from cnnc.cli.options import Net, compile_options, is_given, json_option, net_options
from cnnc.compare.report import number_json
from cnnc.frontend.settings import Batch
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
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write .npz or .npy.")
@click.option("--labels", metavar="NAME", help="Array of the inputs' file with the true classes.")
@click.option("--top", default=0, metavar="K", help="List the K largest of each [N, C] output.")
@click.option("--repeat", default=1, show_default=True, help="Runs to take the median time of.")
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
    repeat: int,
    target: str,
    backend: str,
    threads: int,
    exact: bool,
    tuning: Path | None,
    as_json: bool,
) -> None:
    """Run a network on arrays or images."""
    if repeat < 1:
        raise fail("E0803", f"--repeat is {repeat}, it must be 1 or more")
    if top < 0:
        raise fail("E0803", f"--top is {top}, it must be 0 or more")
    which = Net(file, net, settings, batch)
    options = Options(target, backend, threads, exact, tuning)
    compiled = which.network(options, threads_given=is_given("threads"))
    given = read_inputs(compiled.interface, [Source.parse(text) for text in inputs], labels)
    if output:
        check_output(output, list(compiled.outputs))
    for note in given.notes:
        remark(f"note: {note}")
    samples = Binding(compiled.interface).bind(given.arrays, {}).samples
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        results = compiled(given.arrays)
        times.append(time.perf_counter() - start)
    if output:
        write_outputs(output, results)
    accuracy = {} if given.labels is None else _accuracies(results, given.labels)
    seconds = float(np.median(times))
    if as_json:
        print_json(_as_json(results, samples, seconds, accuracy, top))
    else:
        say(_as_text(results, samples, seconds, accuracy, top))


def _as_text(
    results: dict[str, Array], samples: int, seconds: float, accuracy: dict[str, float], top: int
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
    each = f", {seconds_text(seconds / samples)} each" if samples > 1 else ""
    lines.append(f"{plural(samples, 'sample')} in {seconds_text(seconds)}{each}")
    return "\n".join(lines)


def _as_json(
    results: dict[str, Array], samples: int, seconds: float, accuracy: dict[str, float], top: int
) -> Json:
    outputs: dict[str, Json] = {}
    for name, array in results.items():
        low, mean, high = map(number_json, _summary(array))
        row: dict[str, Json] = {"shape": list(array.shape), "min": low, "mean": mean, "max": high}
        if top and array.ndim == 2:
            row["top"] = [[int(c) for c in _largest(sample, top)] for sample in array]
        outputs[name] = row
    return {"samples": samples, "seconds": seconds, "outputs": outputs, "accuracy": {**accuracy}}


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
