"""What `diff` found, as a table, as text and as plain data."""

from dataclasses import dataclass

from cnnc.base.layout import Shape
from cnnc.base.report import Json
from cnnc.compare.blame import Blame
from cnnc.compare.measure import Errors
from cnnc.html import Printer, table_html, text_html
from cnnc.table import Column, Table, plural, shape_text, shorten


@dataclass(frozen=True, slots=True)
class LayerDiff:
    """One layer on the reference's operands; `spill` says what is wrong around its result."""

    name: str
    op: str
    shape: Shape
    place: str
    errors: Errors
    spill: str = ""

    @property
    def ok(self) -> bool:
        """Whether the layer is within its tolerance and leaves its surroundings alone."""
        return self.errors.ok and not self.spill

    def to_json(self) -> dict[str, Json]:
        """The row as plain data."""
        row: dict[str, Json] = {"name": self.name, "op": self.op, "shape": list(self.shape)}
        return {**row, "place": self.place, "ok": self.ok, "spill": self.spill} | errors_json(
            self.errors
        )


@dataclass(frozen=True, slots=True)
class OutputDiff:
    """One output of the whole network. `stage` is `passes` (graph against graph) or `program`."""

    stage: str
    name: str
    errors: Errors

    @property
    def ok(self) -> bool:
        """Whether the output is within its tolerance."""
        return self.errors.ok

    def to_json(self) -> dict[str, Json]:
        """The row as plain data."""
        row: dict[str, Json] = {"stage": self.stage, "name": self.name, "ok": self.ok}
        return row | errors_json(self.errors)


@dataclass(frozen=True, slots=True)
class CheckDiff:
    """One array of a `check` file: the largest error over atol + rtol |expected|."""

    name: str
    samples: int
    max_abs: float
    ratio: float
    reference_ratio: float

    @property
    def ok(self) -> bool:
        """Whether the compiled network is as close as the file asks."""
        return self.ratio <= 1

    def to_json(self) -> dict[str, Json]:
        """The row as plain data."""
        return {
            "name": self.name,
            "samples": self.samples,
            "max_abs": number_json(self.max_abs),
            "ratio": number_json(self.ratio),
            "reference_ratio": number_json(self.reference_ratio),
            "ok": self.ok,
        }


@dataclass(frozen=True, slots=True)
class DiffReport:
    """A network held against its reference, layer by layer and as a whole."""

    net: str
    backend: str
    samples: int
    layers: tuple[LayerDiff, ...]
    outputs: tuple[OutputDiff, ...]
    checks: tuple[CheckDiff, ...] = ()
    blames: tuple[Blame, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything is within its tolerance."""
        return not self.blames and all(each.ok for each in self.checks)

    @property
    def is_bug(self) -> bool:
        """Whether cnnc is to blame, rather than a check file."""
        return bool(self.blames)

    @property
    def first_bad(self) -> LayerDiff | None:
        """The first layer that is out of tolerance."""
        return next((layer for layer in self.layers if not layer.ok), None)

    def format(self) -> str:
        """The table of layers, the outputs, the checks and the verdict."""
        return "\n".join([str(self._table()), "", *self._lines(), self._verdict()])

    def __str__(self) -> str:
        return self.format()

    def _repr_html_(self) -> str:
        return table_html(self._table()) + text_html("\n".join([*self._lines(), self._verdict()]))

    def _repr_pretty_(self, printer: Printer, cycle: bool) -> None:
        printer.text(self.format())

    def to_json(self) -> dict[str, Json]:
        """The report as plain data."""
        return {
            "net": self.net,
            "backend": self.backend,
            "samples": self.samples,
            "ok": self.ok,
            "layers": [each.to_json() for each in self.layers],
            "outputs": [each.to_json() for each in self.outputs],
            "checks": [each.to_json() for each in self.checks],
            "blames": [each.to_json() for each in self.blames],
        }

    def _table(self) -> Table:
        columns = [Column("layer"), Column("operator"), Column("result")]
        titles = ("max abs", "max rel", "max ULP", "error / tolerance")
        columns += [*(Column(title, True) for title in titles), Column("")]
        rows = [
            [
                *(layer.name, shorten(layer.op, 48), shape_text(layer.shape)),
                *(f"{layer.errors.max_abs:.1e}", f"{layer.errors.max_rel:.1e}"),
                *(f"{layer.errors.max_ulp:.1f}", f"{layer.errors.ratio:.3f}"),
                "ok" if layer.ok else "OUT",
            ]
            for layer in self.layers
        ]
        return Table(columns, rows)

    @property
    def unbounded(self) -> int:
        """How many elements of layers were not compared, as they have no finite tolerance."""
        return sum(layer.errors.unbounded for layer in self.layers)

    def _lines(self) -> list[str]:
        what = {"passes": "graph after all passes", "program": "program as a whole"}
        lines = [
            f"{what[each.stage]}, output {each.name}: max abs {each.errors.max_abs:.1e}, "
            f"error / tolerance {each.errors.ratio:.3f}{'' if each.ok else '  OUT'}"
            for each in self.outputs
        ]
        lines += [
            f"check file, {each.name} of {plural(each.samples, 'sample')}: "
            f"max abs {each.max_abs:.1e}, error / tolerance {each.ratio:.3f}"
            f"{'' if each.ok else '  OUT'}"
            for each in self.checks
        ]
        if self.unbounded:
            lines.append(
                f"{self.unbounded} elements have no finite tolerance and were not compared"
            )
        return lines

    def _verdict(self) -> str:
        count = f"{plural(len(self.layers), 'layer')}, {plural(self.samples, 'sample')}"
        if self.ok:
            partly = " in what was compared" if self.unbounded else ""
            return f"{self.net} agrees with the reference{partly} ({self.backend}, {count})"
        lines = [f"{self.net} does not agree with the reference ({self.backend}, {count})"]
        if bad := self.first_bad:
            lines += _describe(bad)
        lines += [f"  blame: {blame}" for blame in self.blames]
        if not self.blames:
            lines += [f"  {_check_verdict(each)}" for each in self.checks if not each.ok]
        return "\n".join(lines)


def _describe(bad: LayerDiff) -> list[str]:
    place = f" ({bad.place})" if bad.place else ""
    lines = [f"  first layer out of tolerance: {bad.name}{place}, {bad.op}"]
    errors = bad.errors
    if not errors.ok:
        where = ", ".join(map(str, errors.index))
        lines.append(
            f"  worst element [{where}]: {errors.got!r}, expected {errors.expected!r} "
            f"± {errors.tolerance:.1e}"
        )
    return [*lines, f"  {bad.spill}"] if bad.spill else lines


def _check_verdict(check: CheckDiff) -> str:
    if check.reference_ratio > 1:
        return (
            f"the reference is as far from the check file's `{check.name}`: "
            "the file, the weights or the network's text are not what they were"
        )
    return f"`{check.name}` is out of the check file's tolerance, the reference is not"


def errors_json(errors: Errors) -> dict[str, Json]:
    """Errors as plain data; infinities and NaN as text."""
    return {
        "max_abs": number_json(errors.max_abs),
        "max_rel": number_json(errors.max_rel),
        "max_ulp": number_json(errors.max_ulp),
        "ratio": number_json(errors.ratio),
        "index": list(errors.index),
        "got": number_json(errors.got),
        "expected": number_json(errors.expected),
        "tolerance": number_json(errors.tolerance),
        "unbounded": errors.unbounded,
    }


def number_json(value: float) -> Json:
    """A number as JSON can hold it."""
    return value if abs(value) < float("inf") else str(value)
