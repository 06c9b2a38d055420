"""A module as a graph of ATen's operators, with what is known of it beforehand."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from io import StringIO
from typing import Any

from cnnc.base.errors import UserError, fail
from cnnc.base.record import record
from cnnc.onnx.values import RefusedError
from cnnc.torch.needed import import_torch
from cnnc.torch.registry import IMPORTERS

Node = Any
"""A `torch.fx.Node`, and below other things of torch, which has to be there only when it runs."""
MOST_NODES = 50_000


@record
class Captured:
    """An exported graph.

    `known` are values that do not depend on inputs: parameters, constants, and what is computed of
    them. `labels` are the names that parameters have in the module. `inputs` are the placeholders
    of all leaves of the arguments; those that are no tensors are known. `outputs` are nodes or
    constants, for all leaves of the result. `takes` and `gives` are the structures of both. With
    `keeps_samples` first axes have to stay those of samples, as nets for ranges need it.
    """

    module: Any
    known: Mapping[Node, Any]
    labels: Mapping[Node, str]
    inputs: tuple[Node, ...]
    outputs: tuple[Any, ...]
    takes: Any
    gives: Any
    keeps_samples: bool = False

    def renewed(self, tensors: Mapping[str, Any]) -> "Captured":
        """The same graph with these parameters, and what is computed of them.

        UserError where they are of other shapes or types.
        """
        known = {node: value for node, value in self.known.items() if node.op == "placeholder"}
        for node, label in self.labels.items():
            new, old = tensors.get(label, known[node]), known[node]
            for name in ("shape", "dtype", "device"):
                if getattr(new, name) != getattr(old, name):
                    why = f"its {name} is {getattr(new, name)}, and was {getattr(old, name)}"
                    raise fail("E0602", f"`{label}` is another tensor; compile again", notes=(why,))
            known[node] = new
        with import_torch().no_grad():
            _fold(self.module, known)
        return replace(self, known=known)

    @property
    def calls(self) -> list[Node]:
        """The nodes that have to be computed, in order."""
        checks = import_torch().ops.aten._assert_tensor_metadata.default
        return [
            each
            for each in self.module.graph.nodes
            if each.op == "call_function" and each not in self.known and each.target is not checks
        ]


def capture(
    module: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    fixed: Mapping[int, Any] | None = None,
) -> Captured:
    """Export a module for these arguments; RefusedError where it changes what it is given.

    `fixed` are tensors that stand for leaves of the arguments.
    """
    torch = import_torch()
    args, kwargs = _apart(args, kwargs or {})
    with _exporting(), torch.no_grad():
        program = torch.export.export(module, args, kwargs)
        program = program.run_decompositions(_decompositions())
    graph = program.graph
    if len(graph.nodes) > MOST_NODES:
        raise RefusedError(f"it has more than {MOST_NODES} nodes")
    outputs = _outputs(program, module)
    known, labels, inputs = _placeholders(program, dict(fixed or {}))
    with torch.no_grad():
        _fold(program.graph_module, known)
    spec = program.call_spec
    return Captured(
        program.graph_module, known, labels, tuple(inputs), outputs, spec.in_spec, spec.out_spec
    )


def _apart(
    args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments without a tensor that is there twice: torch would take it for one input."""
    torch = import_torch()
    seen: set[int] = set()

    def copied(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or id(leaf) not in seen:
            seen.add(id(leaf))
            return leaf
        return leaf.detach().clone()

    made: tuple[tuple[Any, ...], dict[str, Any]] = torch.utils._pytree.tree_map(
        copied, (tuple(args), dict(kwargs))
    )
    return made


@contextmanager
def _exporting() -> Iterator[None]:
    """One thread at a time, as torch keeps in one place that it exports or compiles.

    Without what torch warns its own authors of, and the graph that it prints where it fails.
    """
    import torch._dynamo.convert_frame as torch_compiler

    with torch_compiler.compile_lock, warnings.catch_warnings(), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        yield


def _decompositions() -> Any:
    """Operators that cnnc has stay whole."""
    torch = import_torch()
    table = torch.export.default_decompositions()
    for name in IMPORTERS.names:
        packet = getattr(torch.ops.aten, name, None)
        for overload in packet.overloads() if packet is not None else ():
            table.pop(getattr(packet, overload), None)
    return table


def _outputs(program: Any, module: Any) -> tuple[Any, ...]:
    called = dict(zip(program.graph_signature.user_inputs, _inputs_of(module), strict=False))
    for each in program.graph_signature.output_specs:
        if each.kind.name != "USER_OUTPUT":
            what = each.kind.name.removeprefix("USER_").removesuffix("_MUTATION").lower()
            name = called.get(each.target, each.target)
            raise RefusedError(f"it changes its {what} `{name}`")
    (last,) = (node for node in program.graph.nodes if node.op == "output")
    return tuple(last.args[0])


def _inputs_of(module: Any) -> list[str]:
    """What a graph calls its inputs; nothing of other modules."""
    nodes = module.graph.nodes if isinstance(module, import_torch().fx.GraphModule) else ()
    return [node.name for node in nodes if node.op == "placeholder"]


def _placeholders(
    program: Any, fixed: dict[int, Any]
) -> tuple[dict[Node, Any], dict[Node, str], list[Node]]:
    kinds = import_torch().export.graph_signature.InputKind
    nodes = [node for node in program.graph.nodes if node.op == "placeholder"]
    known: dict[Node, Any] = {}
    labels: dict[Node, str] = {}
    inputs: list[Node] = []
    for node, spec in zip(nodes, program.graph_signature.input_specs, strict=True):
        if spec.kind == kinds.USER_INPUT:
            is_tensor = type(spec.arg).__name__ == "TensorArgument"
            if is_tensor and len(inputs) in fixed:
                known[node] = fixed[len(inputs)]
            inputs.append(node)
            if not is_tensor:
                known[node] = spec.arg.value
        elif spec.kind in (kinds.PARAMETER, kinds.BUFFER, kinds.CONSTANT_TENSOR):
            held = program.state_dict if spec.target in program.state_dict else program.constants
            known[node], labels[node] = held[spec.target], spec.target
        else:
            raise RefusedError(f"it holds a {spec.kind.name.lower()}")
    return known, labels, inputs


def _fold(module: Any, known: dict[Node, Any]) -> None:
    """Compute what depends on known values only, as torch does."""
    torch = import_torch()
    for node in module.graph.nodes:
        if node.op == "get_attr":
            known[node] = _attribute(module, node.target)
        if node.op != "call_function" or any(each not in known for each in node.all_input_nodes):
            continue
        if isinstance(node.target, torch._ops.OpOverload):
            if torch.Tag.nondeterministic_seeded in node.target.tags:
                continue
        elif isinstance(node.target, torch._ops.HigherOrderOperator):
            continue
        args, kwargs = resolve(node, known)
        known[node] = node.target(*args, **kwargs)


def _attribute(module: Any, path: str) -> Any:
    for name in path.split("."):
        module = getattr(module, name)
    return module


def resolve(node: Node, values: Mapping[Node, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call, with values in place of nodes."""
    torch = import_torch()
    args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), lambda each: values[each])
    return args, kwargs


def check_polymorphic(module: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """UserError where more than the first extents of values depends on the number of samples."""
    torch = import_torch()
    batch = torch.export.Dim("batch", min=1)
    leaves, spec = torch.utils._pytree.tree_flatten((tuple(args), dict(kwargs)))
    marks = [{0: batch} if isinstance(each, torch.Tensor) else None for each in leaves]
    shapes, named = torch.utils._pytree.tree_unflatten(marks, spec)
    try:
        with _exporting(), torch.no_grad():
            program = torch.export.export(
                module, *_apart(args, kwargs), dynamic_shapes=(*shapes, *named.values())
            ).run_decompositions(_decompositions())
    except Exception as error:
        first = str(error).strip().splitlines()[0]
        raise for_one_number(first) from None
    for node in program.graph.nodes:
        if node.op != "call_function" or not isinstance(node.meta.get("val"), torch.SymInt):
            continue
        for user in node.users:
            if not _only_keeps(user, node):
                raise for_one_number(f"`{user.name}` computes with the number of samples")


def for_one_number(why: str) -> UserError:
    """The error of a range of batches where a net cannot have one."""
    help = "give the batch as one number: `batch=8`"
    return fail("E0902", "the module is for one number of samples", notes=(why,), help=help)


def _only_keeps(user: Node, count: Node) -> bool:
    """Whether a call makes so many samples first, and nothing else that depends on it."""
    _, _, name = str(user.target).partition(".")
    if name.partition(".")[0] not in ("view", "reshape", "_unsafe_view", "expand"):
        return False
    sizes = user.args[1]
    return sizes[0] is count and count not in sizes[1:]
