"""Pipelines, stages, blocks, repetitions → nodes: the recursion the files beside it serve.

An expression stands in one of two positions. Where it *flows* (bindings, results of bodies,
branches), a pipeline that starts with a stage receives `in`. As a plain *value* (arguments,
operands of arithmetic, conditions), a stage stays a word: `block b(act) { conv(8, 3) -> act }`.
"""

from collections.abc import Sequence
from dataclasses import replace

import cnnc.ops  # noqa: F401  fills the registry of operators
from cnnc.base.errors import InternalError, did_you_mean
from cnnc.base.source import Span
from cnnc.frontend import ast, expression
from cnnc.frontend.arithmetic import FUNCTIONS
from cnnc.frontend.context import Context
from cnnc.frontend.foreign import familiar_stage
from cnnc.frontend.formals import bind_formals
from cnnc.frontend.operators import Application, Operand, apply_operator, is_leaf
from cnnc.frontend.scope import Path, Scope, join
from cnnc.frontend.state import BuildState
from cnnc.frontend.statements import DISCARD, claim_path, run_statement
from cnnc.frontend.values import (
    UNKNOWN,
    Flow,
    Given,
    Range,
    Unknown,
    Value,
    Word,
    holds_tensor,
    holds_unknown,
    is_number,
    kind,
    show,
)
from cnnc.ir.graph import Node
from cnnc.ops.spec import find, operators

IMPLICIT_INDEX = "i"
_FOREIGN = {"return": "the last line of a block is its result; remove the word"}
"""Words of other languages that look like stages."""


class Evaluator:
    """Evaluates the AST of one net."""

    def __init__(self, state: BuildState) -> None:
        self.state = state

    # ── the two positions ───────────────────────────────────────────────────────────────────────

    def value(self, it: ast.Expression, context: Context) -> Value:
        """See Evaluates."""
        match it:
            case ast.Call():
                return self._call(it, context, flows=False)
            case ast.Condition():
                return self._condition(it, context, flows=False)
            case ast.Pipe() | ast.Labelled() | ast.Repeat():
                return self.flow(it, context)
        return expression.evaluate(self, it, context)

    def flow(self, it: ast.Expression, context: Context) -> Value:
        """See Evaluates."""
        match it:
            case ast.Pipe():
                return self._pipe(it, context)
            case ast.Sequence():
                items = tuple(self.flow(item, context.unnamed()) for item in it.items)
                self.state.hold(items, it.span)
                return items
            case ast.Call():
                return self._call(it, context, flows=True)
            case ast.Reference():
                found = expression.find_name(self, it.name, context)
                return self._stage(it, context) if isinstance(found, Word) else found
            case ast.Labelled() | ast.Repeat() | ast.Condition():
                return self._stage(it, context)
        return self.value(it, context.unnamed())

    def _pipe(self, it: ast.Pipe, context: Context) -> Value:
        stages = len(it.stages) + self._is_stage(it.start, context)
        context = context if stages == 1 else context.unnamed()
        value, place = self.flow(it.start, context), it.start.span
        for stage in it.stages:
            here = self._flowing(value, place, context)
            value = self._stage(stage, context, here)
            place = stage.span
        return value

    def _is_stage(self, it: ast.Expression, context: Context) -> bool:
        """Whether the start of a pipeline is a stage itself, or holds one."""
        match it:
            case ast.Pipe():
                return True
            case ast.Sequence():
                return any(self._is_stage(item, context) for item in it.items)
            case ast.Reference():
                return context.scope.find(it.name.text) is None
        return isinstance(it, ast.Call | ast.Labelled | ast.Repeat | ast.Condition)

    def _flowing(self, value: Value, place: Span, context: Context) -> Flow:
        """What may flow through `->`."""
        if isinstance(value, Node | Unknown):
            return value
        if holds_unknown(value):
            return UNKNOWN
        if isinstance(value, Word):
            return expression.unknown_name(self, value, context)
        if isinstance(value, tuple) and value:
            items = tuple(self._flowing(item, place, context) for item in value)
            return UNKNOWN if holds_unknown(items) else items
        if is_number(value):
            message, help = f"a number cannot flow through `->`: {show(value)}", None
        else:
            what = "an empty list" if value == () else kind(value)
            message, help = (
                f"{what} cannot flow through `->`",
                "only tensors and lists of them flow",
            )
        return self.state.error("E0206", message, place, "expected a tensor", help=help)

    # ── stages ──────────────────────────────────────────────────────────────────────────────────

    def _stage(self, it: ast.Expression, context: Context, fed: Flow | None = None) -> Value:
        """A stage behind `->`, which feeds it, or at the start of a pipeline, fed by `in`.

        Its arguments stand outside of its braces: `in` is not yet what is fed to it there.
        """
        entering = context if fed is None else context.feeding(fed)
        match it:
            case ast.Labelled():
                return self._labelled(it, context, fed)
            case ast.Reference():
                return self._apply(it.name, [], it, entering, fed is not None)
            case ast.Call():
                given = self._given(it.arguments, context)
                return self._apply(it.name, given, it, entering, fed is not None)
            case ast.Repeat():
                return self._repeat(it, entering)
            case ast.Condition():
                return self._condition(it, entering, flows=True)
        raise InternalError(f"{type(it).__name__} is no stage", stage="build")

    def _labelled(self, it: ast.Labelled, context: Context, fed: Flow | None) -> Value:
        path = join(context.path.owner, it.label.text)
        claim_path(self.state, path, it.label)
        return self._stage(it.stage, context.at(context.path.named(path)), fed)

    def _given(self, arguments: Sequence[ast.Argument], context: Context) -> list[Given]:
        context = context.unnamed()
        return [
            Given(each.name, self._argument(each.value, context), each.span, each.value)
            for each in arguments
        ]

    def _argument(self, it: ast.Expression, context: Context) -> Value:
        """The value of an argument; `stride: k` labels what is no stage."""
        match it:
            case ast.Labelled(label, ast.Reference(name)) if not self._may_be_stage(name, context):
                message = "`:` gives no argument its value"
                help = f"write `{label.text} = {name.text}`; `:` labels a stage"
                return self.state.error("E0104", message, it.span, "expected `=`", help=help)
        return self.value(it, context)

    def _may_be_stage(self, name: ast.Name, context: Context) -> bool:
        bound = context.scope.find(name.text)
        is_known = find(name.text) or self.state.find_block(name.text, name.span)
        return isinstance(bound, Word | Unknown) or (bound is None and is_known is not None)

    def _call(self, it: ast.Call, context: Context, *, flows: bool) -> Value:
        """A call that is not behind `->`: a function, a word with arguments, or a stage."""
        given = self._given(it.arguments, context)
        with_tensor = any(holds_tensor(each.value) for each in given)
        if self._is_function(it, given, context, flows=flows):
            return expression.function(self, it, given)
        if flows or with_tensor or it.branches or is_leaf(self.state, it.name, context.scope):
            return self._apply(it.name, given, it, context, False)
        if any(holds_unknown(each.value) for each in given):
            return UNKNOWN
        self.state.hold([each.value for each in given], it.span)
        return Word(it.name.text, it.span, tuple(given))

    def _is_function(
        self, it: ast.Call, given: Sequence[Given], context: Context, *, flows: bool
    ) -> bool:
        """Functions are for numbers and for lists of anything; what takes tensors is a stage.

        So is a call with a number too few, such as `max(0)`, where something flows in.
        """
        function = FUNCTIONS.get(it.name.text)
        if function is None or it.branches or not given:
            return False
        is_tensor = (lambda v: isinstance(v, Node)) if function.of_list else holds_tensor
        if any(is_tensor(each.value) for each in given):
            return False
        if flows and context.here is not None and len(given) < function.least:
            return False
        return context.scope.find(it.name.text) is None

    def _apply(
        self,
        name: ast.Name,
        given: Sequence[Given],
        it: ast.Reference | ast.Call,
        context: Context,
        is_fed: bool,
    ) -> Value:
        """A block or operator by name, or by a name bound to one (`act = relu`)."""
        branches = it.branches if isinstance(it, ast.Call) else ()
        word, place, bound = name.text, name.span, context.scope.find(name.text)
        if isinstance(bound, Word):
            word, place, given = bound.name, bound.span, [*bound.arguments, *given]
        block = self.state.find_block(word, place)
        if isinstance(bound, Unknown) or isinstance(block, Unknown):
            return UNKNOWN
        if block is not None:
            called = ast.Name(word, name.span)
            return self._block(block, given, branches, it.span, called, context)
        operator = find(word)
        if operator is None:
            return self._no_such_stage(name, word, place, bound, context)
        takes_none = operator.arity[1] == 0 and not (is_fed or branches)
        operands = () if takes_none else self._operands(given, branches, it, context, is_fed)
        application = Application(
            operator, name.span, it.span, operands, tuple(given), context.scope, context.path
        )
        return apply_operator(self.state, application)

    def _operands(
        self,
        given: Sequence[Given],
        branches: Sequence[ast.Expression],
        it: ast.Reference | ast.Call,
        context: Context,
        is_fed: bool,
    ) -> tuple[Operand, ...]:
        """Branches, or what flows in; a call with tensors among its arguments may do without."""
        if branches:
            # A name for the join itself is a prefix for what its branches hold.
            inner = context.unnamed()
            return tuple(Operand(self.flow(each, inner), each.span) for each in branches)
        if any(holds_tensor(each.value) for each in given) and not is_fed:
            return ()
        if context.here is not None:
            return (Operand(context.here, it.span),)
        word = it.name.text
        lost = self.state.error(
            "E0212",
            f"nothing flows into `{word}`",
            it.name.span,
            help=f"start the pipeline with a tensor: `x -> {word}`",
        )
        return (Operand(lost, it.span),)

    def _no_such_stage(
        self, name: ast.Name, word: str, place: Span, bound: Value | None, context: Context
    ) -> Unknown:
        if bound is not None and not isinstance(bound, Word):
            message = f"`{name.text}` is {kind(bound)}, not a stage"
            return self.state.error("E0206", message, name.span, "expected an operator or block")
        if context.scope.find_later(name.text) is not None:
            expression.find_name(self, name, context)
            return UNKNOWN
        blocks = self.state.modules.of(place.source).blocks
        known = [*blocks, *(each.name for each in operators()), *context.scope.names()]
        message = f"no operator, block or tensor is called `{word}`"
        notes = [f"`{name.text}` is `{word}` here"] if word != name.text else []
        help = _FOREIGN.get(word) or familiar_stage(word) or did_you_mean(word, known)
        help = help or "`cnnc ops` lists the operators"
        return self.state.error("E0202", message, name.span, notes=notes, help=help)

    # ── blocks, repetitions, conditions ─────────────────────────────────────────────────────────

    def _block(
        self,
        block: ast.Block,
        given: Sequence[Given],
        branches: Sequence[ast.Expression],
        span: Span,
        name: ast.Name,
        context: Context,
    ) -> Value:
        if not self._may_enter(block, name):
            return UNKNOWN
        if branches:
            message = f"`{name.text}` is a block, it joins no branches"
            return self.state.error("E0205", message, branches[0].span)
        self.state.spend(span)
        scope = bind_formals(self, block, given, name)
        if scope is None:
            return UNKNOWN
        taken = context.path.exact
        path = taken or self.state.paths.claim_free(context.path.prefix, name.text)
        inside = Context(scope, context.path.inside(path), context.here)
        self.state.callers.append((block, span))
        try:
            return self.body(block.body, inside, flows=True)
        finally:
            self.state.callers.pop()

    def _may_enter(self, block: ast.Block, name: ast.Name) -> bool:
        callers, limit = self.state.callers, self.state.limits.block_depth
        if any(caller is block for caller, _ in callers):
            self.state.error(
                "E0209",
                f"`{block.name.text}` uses itself",
                name.span,
                help="blocks are copied where they are used, so none can contain itself; "
                "use `repeat`",
            )
            return False
        if len(callers) >= limit:
            message = f"blocks are used inside blocks more than {limit} levels deep"
            self.state.error("E0502", message, name.span)
            return False
        return True

    def _repeat(self, it: ast.Repeat, context: Context) -> Value:
        items = self._repetitions(it, context)
        if isinstance(items, Unknown):
            return UNKNOWN
        base = context.path.exact or self.state.paths.claim_repeat(context.path.prefix)
        name = it.index.text if it.index is not None else IMPLICIT_INDEX
        value: Value = UNKNOWN if context.here is None else context.here
        for count, item in enumerate(items):
            self.state.spend(it.span)
            scope = Scope(context.scope)
            scope.bind(name, item, it.index.span if it.index is not None else it.span)
            path = join(base, str(count))
            inner = replace(context, scope=scope, path=Path(path, path, path))
            before = len(self.state.diagnostics)
            value = self.body(it.body, inner, flows=True)
            here = self._flowing(value, it.body.result.span, inner)
            if count:
                note = f"in repetition {count + 1} of {len(items)}, with `{name}` = {show(item)}"
                self.state.add_note(before, note)
            if isinstance(here, Unknown):
                return UNKNOWN
            context = context.feeding(here)
        return value

    def _repetitions(self, it: ast.Repeat, context: Context) -> Sequence[Value] | Unknown:
        count = self.value(it.count, context.unnamed())
        if holds_unknown(count):
            return UNKNOWN
        if isinstance(count, tuple):
            return count
        if isinstance(count, Range) and isinstance(count.low, int) and isinstance(count.high, int):
            return range(count.low, count.high + 1)
        if isinstance(count, Word):
            return expression.unknown_name(self, count, context)
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            message = f"`repeat` takes an integer ≥ 0, a list or range, not {show(count)}"
            return self.state.error("E0206", message, it.count.span)
        if context.here is None:
            message = "nothing flows into `repeat`"
            return self.state.error("E0212", message, it.span, help="write `x -> repeat(…) { … }`")
        return range(count)

    def _condition(self, it: ast.Condition, context: Context, *, flows: bool) -> Value:
        holds = expression.truth(self, it.test, context.unnamed())
        if isinstance(holds, Unknown):
            return UNKNOWN
        chosen = it.then if holds else it.otherwise
        match chosen:
            case ast.Body():
                return self.body(chosen, context, flows=flows)
            case ast.Condition():
                return self._condition(chosen, context, flows=flows)
        if context.here is not None and flows:
            return context.here
        message = "this `if` has no `else`, and nothing flows through it"
        return self.state.error("E0212", message, it.span, help="add `else { … }`")

    def body(self, body: ast.Body, context: Context, *, flows: bool) -> Value:
        """Statements in a scope of their own, then the result."""
        later = {
            name.text: name.span
            for each in body.statements
            if isinstance(each, ast.Binding)
            for name in each.names
            if name.text != DISCARD
        }
        context = replace(context, scope=Scope(context.scope, later))
        for statement in body.statements:
            run_statement(self, statement, context)
        return self.flow(body.result, context) if flows else self.value(body.result, context)
