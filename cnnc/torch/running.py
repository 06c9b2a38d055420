"""A captured graph ready to run: nets of cnnc, and what torch runs between them."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from cnnc.api import Model
from cnnc.base.errors import Diagnostic, UserError
from cnnc.base.record import record
from cnnc.compiled import Compiled
from cnnc.frontend.settings import Batch
from cnnc.onnx.flat import End, FlatNet
from cnnc.onnx.loading import to_model
from cnnc.onnx.values import RefusedError
from cnnc.torch.capture import Captured, Node, resolve
from cnnc.torch.convert import convert, refused_nodes
from cnnc.torch.needed import import_torch
from cnnc.torch.planning import Segment, handed_views, plan
from cnnc.torch.reporting import Fallen, Part, operator_name

MOST_SHOWN = 50
Environment = dict[Node, Any]


@record
class Wishes:
    """How nets are compiled: options of `Model.compile`, and the batch where it is another one.

    Without `falls_back` whatever cnnc cannot take is an error. With `keeps_views` what is handed
    out as a view of an input stays one.
    """

    options: Mapping[str, Any]
    batch: Batch | None = None
    falls_back: bool = True
    keeps_views: bool = False


class NetStep:
    """A net of cnnc; tensors are read and handed out without a copy where they lie in rows."""

    def __init__(self, net: FlatNet, model: Model, segment: Segment, wishes: Wishes) -> None:
        self.compiled: Compiled = model.compile(batch=wishes.batch, **wishes.options)
        self._torch = import_torch()
        names = [end.name for end in self.compiled.interface.inputs]
        self._reads = [*zip(names, segment.inputs, net.given, strict=True)]
        names = [end.name for end in self.compiled.interface.outputs]
        self._makes = [*zip(names, segment.outputs, net.wanted, strict=True)]

    def run(self, values: Environment) -> None:
        """Compute the outputs."""
        arrays = {}
        for name, node, end in self._reads:
            tensor = values[node].contiguous()
            is_bare = not tensor.requires_grad and not tensor.is_neg()
            array = tensor.numpy() if is_bare else tensor.numpy(force=True)
            arrays[name] = array.reshape(end.in_net) if end.is_wrapped else array
        results = self.compiled(arrays)
        for name, node, end in self._makes:
            values[node] = self._torch.from_numpy(_unwrapped(results[name], end))


def _unwrapped(array: Any, end: End) -> Any:
    return array if array.ndim == len(end.shape) else array.reshape(end.shape)


class TorchStep:
    """Nodes that torch runs."""

    def __init__(self, segment: Segment) -> None:
        self.nodes, self._outputs = segment.nodes, {*segment.outputs}

    def run(self, values: Environment) -> None:
        """Compute all of them."""
        with import_torch().no_grad():
            for node in self.nodes:
                args, kwargs = resolve(node, values)
                values[node] = node.target(*args, **kwargs)
        for node in self.nodes:
            if node not in self._outputs:
                del values[node]


class Program:
    """What runs a graph; `report` says what became of it. Calls from several threads are allowed.

    RefusedError or UserError where the graph cannot be taken and nothing may fall back.
    """

    def __init__(self, captured: Captured, name: str, wishes: Wishes) -> None:
        self.captured = captured
        refused = dict(refused_nodes(captured))
        if wishes.keeps_views:
            refused |= handed_views(captured)
        if refused and not wishes.falls_back:
            raise listed(refused)
        self.steps: list[NetStep | TorchStep] = []
        for segment in plan(captured, refused):
            self.steps.append(_step(captured, name, segment, wishes, refused))
        self.report = _part(name, self.steps, refused, captured)
        self._constants = _constants(captured, self.steps)
        self._reads = [
            (place, node)
            for place, node in enumerate(captured.inputs)
            if node not in captured.known
        ]
        self._gives = [
            (each, None) if hasattr(each, "op") else (None, each) for each in captured.outputs
        ]

    def run(self, leaves: Sequence[Any]) -> list[Any]:
        """The leaves of the result for those of the arguments."""
        values: Environment = dict(self._constants)
        for place, node in self._reads:
            values[node] = leaves[place]
        for step in self.steps:
            step.run(values)
        return [constant if node is None else values[node] for node, constant in self._gives]


def _step(
    captured: Captured, name: str, segment: Segment, wishes: Wishes, refused: dict[Node, str]
) -> NetStep | TorchStep:
    """A net, or torch where the whole cannot be taken, though each node could."""
    if not segment.is_net:
        return TorchStep(segment)
    try:
        net = convert(captured, name, segment.inputs, segment.nodes, segment.outputs)
        model = to_model(net)
    except RefusedError as error:
        why = error.why
        if not wishes.falls_back:
            raise UserError([Diagnostic("E0902", f"cnnc cannot take the module: {why}")]) from None
    except UserError as error:
        if not wishes.falls_back:
            raise
        why = str(error).splitlines()[0]
    else:
        return NetStep(net, model, segment, wishes)
    refused.update(dict.fromkeys(segment.nodes, why))
    return TorchStep(segment)


def _part(
    name: str, steps: Sequence[object], refused: Mapping[Node, str], captured: Captured
) -> Part:
    fallen = tuple(
        Fallen(each.name, operator_name(each.target), why)
        for each, why in refused.items()
        if each.target is not operator.getitem
    )
    nets = sum(isinstance(step, NetStep) for step in steps)
    calls = [each for each in captured.calls if each.target is not operator.getitem]
    return Part(name, len(calls) - len(fallen), nets, fallen)


def _constants(captured: Captured, steps: Sequence[object]) -> Environment:
    """Known values that torch reads, or that are handed out."""
    read = {each for each in captured.outputs if hasattr(each, "op")}
    for step in steps:
        if isinstance(step, TorchStep):
            read |= {each for node in step.nodes for each in node.all_input_nodes}
    return {node: value for node, value in captured.known.items() if node in read}


def listed(refused: Mapping[Node, str]) -> UserError:
    """One error with all nodes that cnnc cannot take."""
    found = [
        Diagnostic("E0902", f"cnnc cannot take {node.target} `{node.name}`: {why}")
        for node, why in refused.items()
    ]
    if len(found) > MOST_SHOWN:
        more = f"{len(found) - MOST_SHOWN} more nodes of the module"
        found[MOST_SHOWN:] = [Diagnostic("E0902", f"cnnc cannot take {more}")]
    return UserError(found)
