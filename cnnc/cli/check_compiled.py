"""`cnnc check` on a file of a compiled network: what is in it, and whether it still computes it."""

from dataclasses import dataclass

from cnnc.base.errors import fail
from cnnc.base.report import Json
from cnnc.compare.report import number_json
from cnnc.loaded import Loaded
from cnnc.table import Column, bytes_text, count_text, format_table, shape_text


@dataclass(frozen=True, slots=True)
class _Outcome:
    """An output held against a check: largest difference, and the largest over its tolerance."""

    output: str
    samples: int
    largest: float
    ratio: float


def describe(network: Loaded) -> str:
    """Layers, ends, memory, origin and checks; UserError where a check is out of tolerance."""
    outcomes = _run_checks(network)
    lines = [network.layers.format(), ""]
    for kind, ends in (("input", network.inputs), ("output", network.outputs)):
        lines += [f"{kind:6} {name}: {shape_text(shape)}" for name, shape in ends.items()]
    lines.append(
        f"{count_text(network.layers.parameters)} parameters, "
        f"{count_text(network.layers.macs)} MACs, batch {network.batch}; "
        f"weights {bytes_text(network.weights_bytes)}, arena {bytes_text(network.arena_bytes)}"
    )
    origin = network.provenance
    settings = "".join(f", {name} = {value}" for name, value in origin.settings)
    lines.append(
        f"compiled by cnnc {origin.cnnc} with LLVM {origin.llvm} for "
        f"`{network.options.target}` from {origin.source or 'a text'}{settings}"
    )
    if outcomes:
        columns = [Column("check"), *(Column(t, True) for t in ("samples", "largest", "of limit"))]
        rows = [
            [each.output, count_text(each.samples), f"{each.largest:.2e}", f"{each.ratio:.3f}"]
            for each in outcomes
        ]
        lines += ["", format_table(columns, rows)]
    return "\n".join(lines)


def to_json(network: Loaded) -> Json:
    """The same as plain data."""
    origin = network.provenance
    checks: list[Json] = [
        {
            "output": each.output,
            "samples": each.samples,
            "largest": number_json(each.largest),
            "of_limit": number_json(each.ratio),
        }
        for each in _run_checks(network)
    ]
    return {
        "ok": True,
        "net": network.name,
        "batch": network.batch,
        "params": dict(origin.settings),
        "inputs": {name: list(shape) for name, shape in network.inputs.items()},
        "outputs": {name: list(shape) for name, shape in network.outputs.items()},
        "parameters": network.layers.parameters,
        "macs": network.layers.macs,
        "layers": [layer.to_json() for layer in network.layers],
        "weights_bytes": network.weights_bytes,
        "arena_bytes": network.arena_bytes,
        "source": origin.source,
        "source_sha256": origin.sha256,
        "cnnc": origin.cnnc,
        "llvm": origin.llvm,
        "target": network.options.target,
        "checks": checks,
    }


def _run_checks(network: Loaded) -> list[_Outcome]:
    outcomes = []
    for check in network.checks:
        results = network(check.inputs)
        for name, wanted in check.outputs.items():
            largest, ratio = check.measure(name, results[name])
            outcomes.append(_Outcome(name, len(wanted), largest, ratio))
    if wrong := [each.output for each in outcomes if each.ratio > 1]:
        raise fail("E0604", f"the check vectors are not matched: {', '.join(wrong)}")
    return outcomes
