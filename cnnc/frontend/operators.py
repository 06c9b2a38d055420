"""A call of an operator → its node: operands, attributes, parameters, and whom to blame."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from cnnc.base.dtype import DType
from cnnc.base.errors import InternalError, did_you_mean
from cnnc.base.record import record
from cnnc.base.source import Span
from cnnc.frontend import ast
from cnnc.frontend.foreign import familiar_attribute
from cnnc.frontend.scope import Path, Scope, join
from cnnc.frontend.state import BuildState
from cnnc.frontend.values import (
    UNKNOWN,
    Given,
    Unknown,
    Value,
    Word,
    count_of,
    holds_tensor,
    kind,
    show,
    to_attribute,
)
from cnnc.ir.graph import Constant, Node, OpError, Parameter
from cnnc.ops.attributes import Value as AttributeValue
from cnnc.ops.spec import Attribute, Composite, Leaf, Named, Operator, ParameterSpec, find


@record
class Operand:
    """A data operand and where it comes from; `item` is its position if it was in a list."""

    value: Value
    span: Span
    item: int | None = None


@record
class Application:
    """An operator applied: `word` is its name in the text, `span` the whole call."""

    operator: type[Named]
    word: Span
    span: Span
    operands: tuple[Operand, ...]
    given: tuple[Given, ...]
    scope: Scope
    path: Path


def apply_operator(state: BuildState, it: Application) -> Value:
    """The node with its parameters, or a list of nodes; UNKNOWN after reporting what is wrong."""
    before = len(state.diagnostics)
    operands = list(it.operands)
    attributes = _read_given(state, it, operands)
    operands = [item for each in operands for item in _items(each)]
    _check_arity(state, it, operands)
    lost = any(isinstance(each.value, Unknown) for each in it.given)
    numbers = _type_of_numbers(operands)
    inputs = [_to_node(state, it, each, numbers) for each in operands]
    nodes = [node for node in inputs if isinstance(node, Node)]
    if attributes is None or len(nodes) < len(inputs) or lost or len(state.diagnostics) > before:
        return UNKNOWN
    values = {name: value for name, (value, _) in attributes.items()}
    places = {name: span for name, (_, span) in attributes.items()}
    try:
        op = it.operator.make(values)
        types = [node.type for node in nodes]
        if isinstance(op, Leaf):
            return _leaf(state, it, op.parameter())
        if isinstance(op, Composite):
            several = op.expand(*types)
            results = [each.infer(*types) for each in several]
        else:
            assert isinstance(op, Operator)
            specs = op.parameters(*types)
            result = op.infer(*types, *(spec.type for spec in specs))
    except OpError as error:
        return _blame(state, it, error, operands, places)
    path = it.path.exact or state.paths.claim_free(it.path.prefix, it.operator.name)
    if isinstance(op, Composite):
        return tuple(
            state.node(each, nodes, made, join(path, str(place)), it.span)
            for place, (each, made) in enumerate(zip(several, results, strict=True))
        )
    nodes += _parameters(state, it, specs, path)
    return state.node(op, nodes, result, path, it.span)


def is_leaf(state: BuildState, name: ast.Name, scope: Scope) -> bool:
    """Whether a call makes a tensor of its own, wherever it stands."""
    operator = find(name.text)
    if operator is None or not issubclass(operator, Leaf):
        return False
    return scope.find(name.text) is None and state.find_block(name.text, name.span) is None


def _leaf(state: BuildState, it: Application, spec: ParameterSpec) -> Node:
    path = it.path.exact or state.paths.claim_free(it.path.prefix, it.operator.name)
    return state.node(Parameter(path, spec.initial), (), spec.type, path, it.span)


def _parameters(
    state: BuildState, it: Application, specs: Sequence[ParameterSpec], path: str
) -> Iterator[Node]:
    """The leaves an instance owns."""
    for spec in specs:
        name = f"{path}.{spec.name}"
        trained = Parameter(name, spec.initial)
        leaf = trained if spec.value is None else Constant(spec.value)
        yield state.node(leaf, (), spec.type, name, it.span)


def _read_given(
    state: BuildState, it: Application, operands: list[Operand]
) -> Mapping[str, tuple[AttributeValue, Span]] | None:
    """Attributes by name; tensors, and what no attribute is left for, move to `operands`."""
    known = {each.name: each for each in it.operator.attributes()}
    free = iter(known.values())
    found: dict[str, tuple[AttributeValue, Span]] = {}
    seen: set[str] = set()
    is_good = True
    for given in it.given:
        is_spare = len(seen) == len(known) and _takes_more(it, operands)
        if given.name is None and (holds_tensor(given.value) or is_spare):
            if _is_choice_too(state, it, given, [*known.values()][len(seen) :]):
                seen.add(next(free).name)
                is_good = False
                continue
            operands.append(Operand(given.value, given.span))
            continue
        attribute = _attribute_of(state, it, given, known, free)
        if attribute is None:
            is_good = False
            continue
        if attribute.name in seen:
            state.error("E0205", f"`{attribute.name}` is given twice", given.span)
            is_good = False
        seen.add(attribute.name)
        value = _fitting_value(state, it, given, attribute)
        if value is None:
            is_good = False
        else:
            found[attribute.name] = (value, given.span)
    for attribute in known.values():
        if attribute.required and attribute.name not in seen and is_good:
            message = f"`{it.operator.name}` needs `{attribute.name}`"
            help = f"`{attribute.name}` is the {attribute.doc}: {attribute.kind.describe()}"
            state.error("E0204", message, it.word, help=help)
            return None
    return found if is_good else None


def _attribute_of(
    state: BuildState,
    it: Application,
    given: Given,
    known: Mapping[str, Attribute],
    free: Iterator[Attribute],
) -> Attribute | None:
    operator = it.operator.name
    if given.name is None:
        for attribute in free:
            return attribute
        message = f"`{operator}` takes {count_of(len(known), 'attribute')}, this is one too many"
        state.error(
            "E0205", message, given.span, notes=[_list_attributes(known) if known else None]
        )
        return None
    if given.name.text not in known:
        state.error(
            "E0203",
            f"`{operator}` has no attribute `{given.name.text}`",
            given.name.span,
            notes=[_list_attributes(known)],
            help=familiar_attribute(given.name.text, known) or did_you_mean(given.name.text, known),
        )
        return None
    return known[given.name.text]


def _fitting_value(
    state: BuildState, it: Application, given: Given, attribute: Attribute
) -> AttributeValue | None:
    """The attribute's value; None, after reporting, if it does not fit or is lost."""
    value, accepted = given.value, attribute.kind.describe()
    if isinstance(value, Unknown):
        return None
    place = given.expression.span if given.expression is not None else given.span
    what = f"`{attribute.name}` of `{it.operator.name}`"
    if _is_choice_too(state, it, given, [attribute]):
        return None
    plain = to_attribute(value)
    if plain is None:
        state.error("E0206", f"{what} cannot be {kind(value)}", place, f"expected {accepted}")
        return None
    try:
        attribute.kind.parse(plain)
    except OpError as error:
        _refuse(state, given, attribute, error, place, what, it.scope)
        return None
    return plain


def _refuse(
    state: BuildState,
    given: Given,
    attribute: Attribute,
    error: OpError,
    place: Span,
    what: str,
    scope: Scope,
) -> None:
    value, keywords = given.value, attribute.kind.keywords
    accepted = attribute.kind.describe()
    if isinstance(value, Word) and value.name not in keywords:
        state.error(
            "E0201",
            f"no `{value.name}` is known here",
            place,
            notes=[f"{what} takes {accepted}"],
            help=did_you_mean(value.name, [*keywords, *scope.names()]),
        )
        return
    help = error.help
    if isinstance(value, str) and value in keywords:
        help = f"choices are written without quotes: `{value}`"
    message = f"{what} cannot be {show(value)}"
    state.error("E0206", message, place, f"expected {accepted}", notes=[error.note], help=help)


def _is_choice_too(
    state: BuildState, it: Application, given: Given, attributes: Sequence[Attribute]
) -> bool:
    """Whether a bound name is also a choice of the attribute it fills; reports it."""
    name = given.expression.name.text if isinstance(given.expression, ast.Reference) else None
    if name is None or isinstance(given.value, Word):
        return False
    for attribute in attributes[:1]:
        if name in attribute.kind.keywords:
            state.error(
                "E0206",
                f"`{name}` is both a choice of `{attribute.name}` and a name bound here",
                given.span,
                notes=[f"the bound name is {show(given.value)}"],
                help="give the binding another name",
            )
            return True
    return False


def _takes_more(it: Application, operands: Sequence[Operand]) -> bool:
    most = it.operator.arity[1]
    return most is None or len(operands) < most


def _check_arity(state: BuildState, it: Application, operands: Sequence[Operand]) -> None:
    least, most = it.operator.arity
    count = len(operands)
    # A lost operand may have been a list of any length.
    if count < least and any(isinstance(each.value, Unknown) for each in operands):
        return
    if least <= count and (most is None or count <= most):
        return
    if most is None:
        wanted = f"at least {count_of(least, 'tensor')}"
    else:
        wanted = count_of(most, "tensor") if least == most else f"{least} to {most} tensors"
    code = "E0204" if count < least else "E0205"
    message = f"`{it.operator.name}` takes {wanted}, not {count}"
    example = f"join branches: `{it.operator.name} {{ … | … }}`" if least > 1 else None
    place = it.word if count < least else operands[-1].span
    notes = [f"`{it.operator.name}` takes the items of a list as operands of their own"]
    if all(each.item is None for each in operands):
        notes = []
    elif most is not None and count > most:
        place = it.word
        example = "choose an item (`in[0]`, `list[0]`), or take the list apart: `a, b = …`"
    state.error(code, message, place, notes=notes, help=example)


def _items(operand: Operand) -> Iterator[Operand]:
    """The operands that one stands for: itself, or the items of a list with tensors."""
    if not isinstance(operand.value, tuple) or not holds_tensor(operand.value):
        yield operand
        return
    for position, item in enumerate(operand.value):
        yield Operand(item, operand.span, position)


def _type_of_numbers(operands: Sequence[Operand]) -> DType:
    """What numbers beside tensors are: f64 where one of these is."""
    types = [each.value.type.dtype for each in operands if isinstance(each.value, Node)]
    return DType.F64 if DType.F64 in types else DType.F32


def _to_node(
    state: BuildState, it: Application, operand: Operand, numbers: DType
) -> Node | Unknown:
    match operand.value:
        case Node() | Unknown():
            return operand.value
        case int() | float() if not isinstance(operand.value, bool):
            return state.scalar(operand.value, it.path.prefix, operand.span, numbers)
        case Word(name=name):
            return state.error(
                "E0206",
                f"`{name}` is not a tensor",
                operand.span,
                help=f"if it is a stage, feed it: `in -> {name}`",
            )
    inside = " in a list" if operand.item is not None else ""
    message = f"`{it.operator.name}` takes tensors, not {kind(operand.value)}{inside}"
    return state.error("E0206", message, operand.span, notes=[f"it is {show(operand.value)}"])


def _blame(
    state: BuildState,
    it: Application,
    error: OpError,
    operands: Sequence[Operand],
    places: Mapping[str, Span],
) -> Unknown:
    shapes = [str(each.value.type) for each in operands if isinstance(each.value, Node)]
    name = it.operator.name
    shown = f"`{name}` reads {' and '.join(shapes)}" if shapes else None
    if isinstance(error.at, str):
        place = places.get(error.at, it.word)
        message = f"`{error.at}` of `{name}` does not fit its input"
        if error.at not in {each.name for each in it.operator.attributes()}:
            message = f"`{name}` does not fit its input"
        return state.error(
            "E0302", message, place, error.why, notes=[error.note, shown], help=error.help
        )
    if error.at is not None and error.at >= len(operands):
        # Parameters have the shapes the operator itself asked for.
        raise InternalError(f"{name} refuses its own parameters: {error.why}", stage="build")
    place, blamed = it.span, None
    if error.at is not None:
        operand = operands[error.at]
        place = operand.span
        if operand.item is not None:
            blamed = f"this is about item {operand.item} of the list"
    message = f"`{name}` cannot take {'these tensors' if len(operands) > 1 else 'this tensor'}"
    return state.error(
        "E0301", message, place, error.why, notes=[error.note, blamed, shown], help=error.help
    )


def _list_attributes(known: Iterable[str]) -> str:
    names = ", ".join(known)
    return f"its attributes are {names}" if names else "it has no attributes"
