"""`torch.compile(module, backend="cnnc")`."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from threading import Lock
from typing import Any

from cnnc.onnx.values import RefusedError
from cnnc.torch.capture import capture
from cnnc.torch.held import versions
from cnnc.torch.module import inference
from cnnc.torch.needed import import_torch
from cnnc.torch.numbers import number_places, with_numbers
from cnnc.torch.reporting import Fallen, Part, note, operator_name
from cnnc.torch.running import Program, Wishes

MOST_FORMS = 8
"""Programs that one graph keeps: for other shapes, or other weights."""
NAME = "cnnc"
_numbers = count(1)


def compile_graph(
    graph: Any, example_inputs: Sequence[Any], *, options: Mapping[str, Any] | None = None
) -> Any:
    """A backend of `torch.compile`: what runs one graph; `options` are those of `Model.compile`.

    A graph is compiled when it is called first, for the shapes and weights of the call.
    """
    return _Graph(graph, example_inputs, Wishes(dict(options or {}), keeps_views=True))


def register() -> None:
    """Make the backend known to `torch.compile` by its name.

    Packages that are installed are found without it.
    """
    import_torch()
    from torch._dynamo.backends.registry import list_backends, register_backend

    if NAME not in list_backends(exclude_tags=()):
        register_backend(compile_graph, name=NAME)


class _Graph:
    """A graph of torch.compile and its programs."""

    def __init__(self, graph: Any, example_inputs: Sequence[Any], wishes: Wishes) -> None:
        self._torch = import_torch()
        self._graph, self._wishes = graph, wishes
        nodes = [node for node in graph.graph.nodes if node.op == "placeholder"]
        pairs = zip(nodes, example_inputs, strict=True)
        self._fixed = [
            place for place, (node, each) in enumerate(pairs) if self._is_fixed(node, each)
        ]
        self._numbers = number_places(nodes, example_inputs)
        self._free = [
            place for place in range(len(nodes)) if place not in {*self._fixed, *self._numbers}
        ]
        self._seen: set[tuple[float, ...]] = set()
        self._programs: OrderedDict[Any, Program | None] = OrderedDict()
        self._lock = Lock()
        self._records = self._warned = False

    def _is_fixed(self, node: Any, example: Any) -> bool:
        """Whether it is a parameter or buffer of a module."""
        held = node.meta.get("tensor_dict") or {}
        return isinstance(example, self._torch.nn.Parameter) or any(
            each is not None
            for each in (
                getattr(example, "_dynamo_static_input_type", None),
                held.get("_dynamo_static_input_type"),
            )
        )

    def __call__(self, *args: Any) -> Any:
        torch = self._torch
        if torch.is_grad_enabled() and any(getattr(each, "requires_grad", False) for each in args):
            if not self._records:
                self._records = True
                note(self._whole("gradients are recorded; call it under torch.no_grad()"))
            return self._graph(*args)
        program = self._find(args)
        if program is None:
            return self._graph(*args)
        return program.run(args)

    def _find(self, args: Sequence[Any]) -> Program | None:
        numbers = tuple(float(args[place]) for place in self._numbers)
        key = (numbers, *self._key(args))
        with self._lock:
            if key not in self._programs:
                if self._changes_always(numbers):
                    return None
                self._programs[key] = self._made(args)
                while len(self._programs) > MOST_FORMS:
                    self._programs.popitem(last=False)
            self._programs.move_to_end(key)
            return self._programs[key]

    def _key(self, args: Sequence[Any]) -> Iterator[Any]:
        tensor = self._torch.Tensor
        for place in self._free:
            each = args[place]
            yield (each.shape, each.dtype, each.device) if isinstance(each, tensor) else each
        yield from map(tuple, versions([args[place] for place in self._fixed]))

    def _changes_always(self, numbers: tuple[float, ...]) -> bool:
        """Whether a net for these numbers would be one for each call."""
        if numbers in self._seen or len(self._seen) < MOST_FORMS:
            self._seen.add(numbers)
            return False
        if not self._warned:
            self._warned = True
            note(self._whole("it computes with a number that changes from call to call"))
        return True

    def _made(self, args: Sequence[Any]) -> Program | None:
        """None where torch must run the whole graph."""
        torch = self._torch
        given = [each.detach() if isinstance(each, torch.Tensor) else each for each in args]
        fixed = {place: given[place] for place in self._fixed}
        numbers = {place: float(args[place]) for place in self._numbers}
        graph = with_numbers(self._graph, numbers) if numbers else self._graph
        name = f"graph{next(_numbers)}"
        try:
            with inference(graph):
                captured = capture(graph, given, fixed=fixed)
        except RefusedError as error:
            note(self._whole(error.why))
            return None
        except Exception as error:  # whatever torch raises for what it cannot export
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            note(self._whole(f"torch cannot export it: {why}"))
            return None
        program = Program(captured, name, self._wishes)
        note(program.report)
        return program

    def _whole(self, why: str) -> Part:
        nodes = [n for n in self._graph.graph.nodes if n.op.startswith("call")]
        return Part(
            f"graph{next(_numbers)}",
            0,
            0,
            tuple(Fallen(n.name, operator_name(n.target), why) for n in nodes),
        )
