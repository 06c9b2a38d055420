"""AST → graph with unbound parameters: the last place where a mistake in the text can show."""

from collections.abc import Mapping
from dataclasses import replace

from cnnc.base.dtype import DType
from cnnc.base.errors import Diagnostic, UserError, did_you_mean, fail
from cnnc.base.record import record
from cnnc.base.source import Span
from cnnc.frontend import ast
from cnnc.frontend.clauses import Check, FileWeights, InitialWeights, read_check, read_weights
from cnnc.frontend.context import Context
from cnnc.frontend.evaluate import Evaluator
from cnnc.frontend.expression import find_name, unknown_name
from cnnc.frontend.imports import Imports
from cnnc.frontend.modules import link_modules
from cnnc.frontend.no_convolution import find_no_convolution
from cnnc.frontend.operators import Application, Operand, apply_operator
from cnnc.frontend.samples import find_dependence
from cnnc.frontend.scope import Path, Scope
from cnnc.frontend.settings import BATCH, bind_params
from cnnc.frontend.state import BuildState, Limits, StopBuildError
from cnnc.frontend.statements import DISCARD, bind_name, flow_named, run_statement
from cnnc.frontend.unused import find_unused
from cnnc.frontend.values import (
    UNKNOWN,
    Given,
    Range,
    Unknown,
    Value,
    Word,
    holds_tensor,
    holds_unknown,
    kind,
    show,
)
from cnnc.ir.graph import Graph, Input, Node
from cnnc.ir.types import TensorType
from cnnc.ops.spec import find

INPUT_DTYPES = (DType.F32, DType.F64, DType.U8, DType.I32, DType.I64, DType.BOOL)
MAX_EXTENT = 2**31 - 1


@record
class BuiltNet:
    """A net as a graph; the files that `weights` and `checks` name are not opened yet."""

    graph: Graph
    params: Mapping[str, str]
    weights: FileWeights | InitialWeights | None
    checks: tuple[Check, ...]
    warnings: tuple[Diagnostic, ...]


def choose_net(program: ast.Program, name: str | None) -> ast.Net:
    """The net called `name`, or the only one."""
    names = [net.name.text for net in program.nets]
    if not names:
        raise fail(
            "E0211",
            "the file has no net",
            program.span.source.span(0, 0),
            help="add `net name { input …  output … }`",
        )
    if name is None and len(names) > 1:
        raise fail(
            "E0211",
            f"the file has {len(names)} nets: {', '.join(names)}",
            program.nets[1].name.span,
            help=f'choose one with `--net {names[0]}`, in Python with `net="{names[0]}"`',
        )
    if name is not None and name not in names:
        help = did_you_mean(name, names) or f"it has {', '.join(names)}"
        raise fail("E0211", f"the file has no net `{name}`", help=help)
    return next(net for net in program.nets if name in (None, net.name.text))


def build_net(
    imports: Imports,
    net: ast.Net,
    settings: Mapping[str, ast.Expression],
    limits: Limits,
) -> BuiltNet:
    """The graph of one net; UserError with everything that is wrong in it."""
    built = _build_once(imports, net, settings, limits)
    if built.graph.fewest is not None:
        number = ast.Number(built.graph.fewest, net.name.span)
        try:
            least = _build_once(imports, net, {**settings, BATCH: number}, limits)
        except UserError as error:
            note = f"this is so with {BATCH} = {number.value}, which the batch allows"
            notes = [replace(each, notes=(*each.notes, note)) for each in error.diagnostics]
            raise UserError(notes) from None
        if found := find_dependence(built.graph, least.graph):
            raise UserError(found)
    return built


def _build_once(
    imports: Imports, net: ast.Net, settings: Mapping[str, ast.Expression], limits: Limits
) -> BuiltNet:
    modules, problems = link_modules(imports)
    state = BuildState(modules, limits)
    try:
        for each in problems:
            state.report(each)
        built = _NetBuilder(Evaluator(state), net).build(settings)
    except StopBuildError:
        built = None
    except RecursionError:
        message = f"`{net.name.text}` nests too deeply"
        state.error("E0502", message, net.name.span, help="bind parts of it to names")
        built = None
    if state.diagnostics or built is None:
        raise UserError(state.diagnostics)
    return built


class _NetBuilder:
    """Runs the items of one net from top to bottom."""

    def __init__(self, ev: Evaluator, net: ast.Net) -> None:
        self._ev = ev
        self._state = ev.state
        self._program = ev.state.modules.main.program
        self._net = net
        self._globals = ev.state.modules.main.scope
        self._inputs: list[Node] = []
        self._outputs: dict[str, Node] = {}
        self._output_places: dict[str, ast.Name] = {}

    def build(self, settings: Mapping[str, ast.Expression]) -> BuiltNet | None:
        """The net, or None where nothing but diagnostics came out."""
        samples = bind_params(self._ev, self._state.modules, settings)
        batch = UNKNOWN if isinstance(samples, Unknown) else int(samples.high)
        context = Context(Scope(self._globals, self._later()), Path())
        for item in self._net.items:
            match item:
                case ast.Input():
                    self._input(item, context, batch)
                case ast.Binding() | ast.Assertion():
                    run_statement(self._ev, item, context)
                case ast.Output():
                    for each in item.items:
                        self._output(each, context)
        self._check_ends()
        weights, checks = self._weights(context), self._checks(context)
        if self._state.diagnostics or isinstance(samples, Unknown):
            return None
        fewest, most = int(samples.low), int(samples.high)
        inputs, some = tuple(self._inputs), fewest if fewest < most else None
        graph = Graph(self._net.name.text, inputs, self._outputs, most, some)
        unused = find_unused(self._program, self._net)
        missing = find_no_convolution(graph, self._net.name.span)
        return BuiltNet(graph, self._params(samples), weights, checks, (*unused, *missing))

    def _params(self, samples: Range) -> Mapping[str, str]:
        found = {
            param.name.text: self._globals.find(param.name.text) for param in self._program.params
        }
        if BATCH in found and samples.low < samples.high:
            found[BATCH] = samples
        return {name: show(value) for name, value in found.items() if value is not None}

    def _later(self) -> Mapping[str, Span]:
        names: list[ast.Name] = []
        for item in self._net.items:
            match item:
                case ast.Input():
                    names.append(item.name)
                case ast.Binding():
                    names += item.names
                case ast.Output():
                    names += [each.name for each in item.items if each.value is not None]
        return {name.text: name.span for name in reversed(names) if name.text != DISCARD}

    def _input(self, it: ast.Input, context: Context, batch: int | Unknown) -> None:
        extents = [self._extent(each, context) for each in it.shape]
        known = [each for each in extents if not isinstance(each, Unknown)]
        value: Value = UNKNOWN
        if it.dtype.text not in [dtype.value for dtype in INPUT_DTYPES]:
            accepted = ", ".join(dtype.value for dtype in INPUT_DTYPES)
            message = f"inputs cannot have element type `{it.dtype.text}`"
            self._state.error("E0303", message, it.dtype.span, f"expected {accepted}")
        elif len(extents) < 2:
            message = f"`{it.name.text}` needs a batch and a channel axis"
            help = "write f32[N, C], f32[N, C, length] or f32[N, C, height, width]"
            self._state.error("E0206", message, it.span, help=help)
        elif len(known) == len(extents) and not isinstance(batch, Unknown):
            if known[0] != batch:
                message = (
                    f"the batch is {batch}, but `{it.name.text}` has a first extent of {known[0]}"
                )
                help = "write `N` as its first extent"
                self._state.error("E0301", message, it.shape[0].span, help=help)
            else:
                type = TensorType.plain(tuple(known), DType(it.dtype.text))
                node = self._state.node(Input(it.name.text), (), type, it.name.text, it.span)
                self._state.paths.claim(it.name.text)
                self._inputs.append(node)
                value = node if it.clauses is None else self._preprocess(it, node, context)
        bind_name(self._ev, it.name, value, context)

    def _preprocess(self, it: ast.Input, node: Node, context: Context) -> Value:
        """What the clauses behind an input make of it."""
        operator, clauses = find("preprocess"), it.clauses or ()
        assert operator is not None
        given = tuple(
            Given(each.name, self._ev.value(each.value, context), each.span, each.value)
            for each in clauses
        )
        operands = (Operand(node, it.name.span),)
        path = Path(it.name.text, it.name.text)
        return apply_operator(
            self._state,
            Application(operator, it.name.span, it.span, operands, given, context.scope, path),
        )

    def _extent(self, it: ast.Expression, context: Context) -> int | Unknown:
        value = self._ev.value(it, context)
        if isinstance(value, Word):
            return unknown_name(self._ev, value, context)
        if holds_unknown(value):
            return UNKNOWN
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_EXTENT:
            return value
        message = f"an extent is an integer ≥ 1, not {show(value)}"
        if isinstance(value, int) and value > MAX_EXTENT:
            message = f"an extent is at most {MAX_EXTENT}, not {show(value)}"
        elif isinstance(value, float) and value.is_integer():
            message = f"an extent is an integer ≥ 1, not the real number {show(value)}"
        return self._state.error("E0206", message, it.span)

    def _output(self, it: ast.OutputItem, context: Context) -> None:
        if it.value is not None:
            value = flow_named(self._ev, it.name, it.value, context)
            bind_name(self._ev, it.name, value, context)
        else:
            value = find_name(self._ev, it.name, context)
        if it.name.text in self._output_places:
            message = f"`{it.name.text}` is an output twice"
            self._state.error("E0207", message, it.name.span)
        self._output_places[it.name.text] = it.name
        if isinstance(value, Word):
            unknown_name(self._ev, value, context)
        elif isinstance(value, Node):
            self._outputs[it.name.text] = value
        elif not holds_unknown(value):
            message = f"`{it.name.text}` is {kind(value)}, but outputs are tensors"
            help = "take the list apart, and name each output: `a, b = …`, `output a, b`"
            help_of_list = help if holds_tensor(value) else None
            self._state.error("E0206", message, it.span, help=help_of_list)

    def _check_ends(self) -> None:
        kinds = {type(item) for item in self._net.items}
        for needed, word in ((ast.Input, "input"), (ast.Output, "output")):
            if needed not in kinds:
                message = f"net `{self._net.name.text}` has no {word}"
                example = "input x: f32[N, 3, 32, 32]" if word == "input" else "output y"
                self._state.error("E0212", message, self._net.name.span, help=f"add `{example}`")

    def _weights(self, context: Context) -> FileWeights | InitialWeights | None:
        kinds = (ast.WeightsFile, ast.WeightsInitial)
        clauses = [item for item in self._net.items if isinstance(item, kinds)]
        for extra in clauses[1:]:
            message = "a net has one `weights` clause"
            note = f"the first one is at line {clauses[0].span.line}"
            self._state.error("E0207", message, extra.span, notes=[note])
        return read_weights(self._ev, clauses[0], context) if clauses else None

    def _checks(self, context: Context) -> tuple[Check, ...]:
        clauses = [item for item in self._net.items if isinstance(item, ast.Check)]
        checks = [read_check(self._ev, clause, context) for clause in clauses]
        return tuple(check for check in checks if check is not None)
