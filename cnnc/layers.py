"""What each layer of a network is and costs, before and after compiling."""

from collections.abc import Iterator

from cnnc.base.layout import Shape
from cnnc.base.record import record
from cnnc.base.report import Json
from cnnc.html import Printer, table_html
from cnnc.table import Column, Table, bytes_text, count_text, shape_text, shorten


@record
class LayerInfo:
    """One layer.

    `parameters` counts trained values; of a compiled layer a batchnorm that has become part of its
    weights has none, and a bias is counted for each phase of a transposed convolution. `macs` are
    multiply-accumulates for the whole batch; `bytes` is what its result takes in memory,
    `weight_bytes` what its constants take. `algorithm` and `layout` are chosen by the compiler, and
    empty before.
    """

    name: str
    op: str
    shape: Shape
    dtype: str
    parameters: int
    macs: int
    bytes: int
    weight_bytes: int
    place: str = ""
    algorithm: str = ""
    layout: str = ""

    def to_json(self) -> dict[str, Json]:
        """The layer as plain data."""
        return {
            "name": self.name,
            "op": self.op,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "parameters": self.parameters,
            "macs": self.macs,
            "bytes": self.bytes,
            "weight_bytes": self.weight_bytes,
            "place": self.place,
            "algorithm": self.algorithm,
            "layout": self.layout,
        }


@record
class Layers:
    """The layers of a network in the order they run; prints as a table."""

    rows: tuple[LayerInfo, ...]

    def __iter__(self) -> Iterator[LayerInfo]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> LayerInfo:
        return self.rows[position]

    def __str__(self) -> str:
        return self.format()

    def _repr_html_(self) -> str:
        return table_html(self.table())

    def _repr_pretty_(self, printer: Printer, cycle: bool) -> None:
        printer.text(self.format())

    def format(self) -> str:
        """The table as text."""
        return str(self.table())

    def table(self) -> Table:
        """The table, with totals."""
        compiled = any(row.algorithm for row in self.rows)
        columns = [Column("layer"), Column("operator"), Column("result")]
        columns += [Column(title, True) for title in ("parameters", "MACs", "bytes")]
        if compiled:
            columns += [Column("layout"), Column("algorithm")]
        rows = []
        for row in self.rows:
            cells = [row.name, shorten(row.op, 60), shape_text(row.shape)]
            cells += [count_text(row.parameters), count_text(row.macs), bytes_text(row.bytes)]
            rows.append(cells + ([row.layout, row.algorithm] if compiled else []))
        total = ["total", "", "", count_text(self.parameters), count_text(self.macs), ""]
        return Table(columns, rows, total + ([""] * 2 if compiled else []))

    @property
    def parameters(self) -> int:
        """Trained values of all layers."""
        return sum(row.parameters for row in self.rows)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all layers."""
        return sum(row.macs for row in self.rows)
