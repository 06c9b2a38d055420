"""What each layer of a network is and costs, before and after compiling."""

from collections.abc import Iterator

from cnnc.base.layout import Shape
from cnnc.base.record import record
from cnnc.base.report import Json
from cnnc.html import Printer, table_html
from cnnc.ir.graph import Constant, Graph, Node, Op, Parameter
from cnnc.ir.types import TensorType
from cnnc.lowering.lowered import Lowered
from cnnc.ops.fused import Fused
from cnnc.ops.spec import Operator
from cnnc.table import Column, Table, bytes_text, count_text, shape_text, shorten


@record
class LayerInfo:
    """One layer.

    `parameters` counts trained values; `macs` multiply-accumulates for the whole batch; `bytes`
    is what its result takes in memory, `weight_bytes` what its constants take. `algorithm` and
    `layout` are chosen by the compiler, and empty before.
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


def graph_layers(graph: Graph) -> Layers:
    """The layers as the network's text has them."""
    counted: set[Node] = set()
    rows = (_describe(node, counted) for node in graph.nodes if not node.is_leaf)
    return Layers(tuple(rows))


def lowered_layers(lowered: Lowered) -> Layers:
    """The layers as they were compiled, each one step of the program."""
    counted: set[Node] = set()
    rows = []
    for layer in lowered.layers:
        node = layer.node
        row = _describe(node, counted)
        constants = [
            param.layout.size(param.shape) * param.dtype.bytes
            for param, operand in zip(layer.kernel.params, layer.operands, strict=True)
            if operand.is_constant
        ]
        rows.append(
            LayerInfo(
                *(row.name, row.op, row.shape, row.dtype, row.parameters, row.macs),
                bytes=node.type.bytes,
                weight_bytes=sum(constants),
                place=row.place,
                algorithm=layer.kernel.origin.algorithm,
                layout=str(node.type.layout),
            )
        )
    return Layers(tuple(rows))


def _describe(node: Node, counted: set[Node]) -> LayerInfo:
    """The row of one node; parameters that an earlier row counted are not counted again."""
    trained = [operand for operand in trained_operands(node) if operand not in counted]
    counted.update(trained)
    constants = [n for n in node.inputs if isinstance(n.op, Constant | Parameter)]
    return LayerInfo(
        name=node.name,
        op=operator_text(node.op),
        shape=node.type.shape,
        dtype=str(node.type.dtype),
        parameters=sum(operand.type.elements for operand in dict.fromkeys(trained)),
        macs=_macs(node),
        bytes=node.type.bytes,
        weight_bytes=sum(constant.type.bytes for constant in dict.fromkeys(constants)),
        place=str(node.span or ""),
    )


def operator_text(op: Op) -> str:
    """An operator for people: what is fused behind the root by name only."""
    if isinstance(op, Fused):
        return " + ".join([op.root.label, *(step.op.name for step in op.tail)])
    return op.label


def _macs(node: Node) -> int:
    types = [operand.type for operand in node.inputs]
    return node.op.macs(node.type, *types) if isinstance(node.op, Operator) else 0


def trained_operands(node: Node) -> Iterator[Node]:
    """Operands that are trained: no statistics, and nothing that the attributes fix."""
    fused = node.op if isinstance(node.op, Fused) else None
    op, arity = (fused.root, fused.root_arity) if fused else (node.op, len(node.inputs))
    if not isinstance(op, Operator):
        return
    types: list[TensorType] = [operand.type for operand in node.inputs]
    specs = op.parameters(*types[:1])
    for spec, operand in zip(specs, node.inputs[arity - len(specs) : arity], strict=True):
        if spec.is_trained:
            yield operand
