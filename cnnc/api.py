"""Python's way in: load a network, look at it, compile it."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnc.artifact import SUFFIX, Provenance
from cnnc.base.errors import Diagnostic, UserError, fail
from cnnc.base.source import SourceFile
from cnnc.binding import Binding, Given
from cnnc.cache import open_cache
from cnnc.compiled import Compiled
from cnnc.frontend import load as frontend
from cnnc.frontend.grammar import prepare
from cnnc.frontend.settings import Batch, Setting
from cnnc.frontend.vectors import CheckVectors
from cnnc.html import heading_html, table_html
from cnnc.interface import Interface
from cnnc.ir.graph import Graph, Node, Parameter
from cnnc.layers import Layers
from cnnc.listing import graph_layers
from cnnc.options import REFERENCE, Options, read_import_path, target_with
from cnnc.snapshot import Snapshot

if TYPE_CHECKING:
    from cnnc.analysis.analysis import Analysis

Array = NDArray[np.generic]
Settings = Mapping[str, Setting]
Folders = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class Model:
    """A network read from its text: shapes are checked and weights bound. `load` makes it."""

    def __init__(self, loaded: frontend.LoadedNet, choices: frontend.Choices) -> None:
        self._loaded = loaded
        self._choices = choices

    @property
    def graph(self) -> Graph:
        """The network as built, before any pass."""
        return self._loaded.graph

    @property
    def name(self) -> str:
        """The net's name in the text."""
        return self.graph.name

    @property
    def batch(self) -> int:
        """Samples of one run, `N` in the text; the most where it is a range."""
        return self.graph.batch

    @property
    def fewest(self) -> int:
        """The least number of samples of one run: `batch` itself, unless that is a range."""
        return self.graph.batch if self.graph.fewest is None else self.graph.fewest

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the inputs by name, in declared order."""
        return {node.name: node.type.shape for node in self.graph.inputs}

    @property
    def outputs(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the outputs by name, in declared order."""
        return {name: node.type.shape for name, node in self.graph.outputs.items()}

    @property
    def layers(self) -> Layers:
        """The layers as the text has them, with shapes, parameters, MACs and bytes."""
        return graph_layers(self.graph)

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        return self.layers.parameters

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one run of the whole batch."""
        return self.layers.macs

    @property
    def params(self) -> Mapping[str, str]:
        """The final value of each `param` of the file, as text."""
        return self._loaded.params

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """What is suspicious in the text, though not wrong."""
        return self._loaded.warnings

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the net's text names: weights and golden vectors."""
        return self._loaded.files

    def checks(self) -> tuple[CheckVectors, ...]:
        """The arrays of the text's `check` clauses; UserError for files that do not fit."""
        return self._loaded.read_checks()

    def compile(
        self,
        target: str = "native",
        backend: str = "native",
        threads: int = 1,
        batch: Batch | None = None,
        *,
        cpu: str | None = None,
        exact: bool = False,
        tuning: str | os.PathLike[str] | None = None,
    ) -> Compiled:
        """The network ready to run on this machine; UserError for what an option cannot be.

        `backend` is `native` (machine code), `cuda` (NVIDIA's GPUs, by nvcc; `target="cuda"` says
        the same, docs/cuda.md), `c` (C, through the system's compiler), `interp` (the same loops in
        Python, slow) or `reference` (NumPy in float64). `target` names a processor family this
        machine belongs to, `native` for everything the machine can do, and `cpu` a processor of
        it. `threads` run it; more than there are cores make it slower. `batch` rebuilds the network
        for so many samples a run, or any number of a range: `(1, 32)`. `exact` leaves out
        algorithms that round more than the sums that define an operator (Winograd's, Strassen's;
        docs/numerics.md). `tuning` is a file of `cnnc tune`, whose choices replace estimates
        (docs/tuning.md).
        """
        target = target_with(target, cpu)
        path = Path(tuning) if isinstance(tuning, str | os.PathLike) else tuning
        options = Options(target, backend, threads, exact, path)
        same = self.batch if self.graph.fewest is None else (self.fewest, self.batch)
        if batch is not None and batch != same:
            model = self.with_batch(batch)
            return model.compile(target, backend, threads, exact=exact, tuning=tuning)
        for node in self.graph.nodes:
            if isinstance(node.op, Parameter):
                raise _no_weights(node)
        return Compiled(self.graph, options, self.provenance)

    def with_batch(self, batch: Batch) -> "Model":
        """The same network for another number of samples a run, or any of a range: `(1, 32)`."""
        choices = replace(self._choices, batch=batch)
        loaded = self._loaded
        made = frontend.load_text(loaded.source, loaded.folder, choices, loaded.links)
        return Model(made, choices)

    def analyze(
        self,
        inputs: Given | None = None,
        *,
        layers: Sequence[str] = (),
        position: Sequence[int] | None = None,
        seed: int = 0,
        pixels: int = 3,
        measure: bool | None = None,
    ) -> "Analysis":
        """What convolution buys, for one sample: dependence, receptive fields, sharing, shifts.

        Without `layers`, all that read more than one element for a result, and the outputs.
        `position` is where receptive fields are asked for, in the layers' spatial axes; without it
        their centre. Measurements run the reference on the first of the `inputs`, or on smooth
        noise drawn by `seed`; `pixels` is how far invariance is measured. `measure` None leaves
        them out for nets too large for that. UserError for what does not fit.
        """
        # imported when asked for: nothing else needs it, and commands should start fast
        from cnnc.analysis.analysis import Wishes, analyze_graph

        model = self._for_one_sample()
        arrays = None if inputs is None else _first_batch(model.graph, inputs)
        wishes = Wishes(layers, position, arrays, seed, pixels, measure)
        return analyze_graph(model.graph, wishes)

    def _for_one_sample(self) -> "Model":
        if self.batch == 1:
            return self
        try:
            return self.with_batch(1)
        except UserError:  # the text asks for a number of samples
            return self

    def reference(self, inputs: Given | None = None, /, **named: ArrayLike) -> dict[str, Array]:
        """The outputs by name from the operators' references: NumPy, float64, rounded once."""
        compiled = self.compile(backend=REFERENCE)
        return compiled(named if inputs is None else inputs)

    @property
    def provenance(self) -> Provenance:
        """Where the network comes from: its text, and the final values of its params."""
        source = self._loaded.source
        digest = sha256(source.text.encode()).hexdigest()
        return Provenance(Path(source.name).name, digest, tuple(self.params.items()))

    def __reduce__(self) -> tuple[object, tuple[Snapshot, frontend.LoadedNet, frontend.Choices]]:
        hollow = replace(self._loaded, graph=Graph(self.name, (), {}))
        return _restore, (Snapshot.take(self.graph), hollow, self._choices)

    def __repr__(self) -> str:
        return f"<cnnc.Model {self.name}{self._ends()}>"

    def _repr_html_(self) -> str:
        return heading_html(self.name, self._ends()) + table_html(self.layers.table())

    def _ends(self) -> str:
        inputs = ", ".join(f"{node.name}: {node.type}" for node in self.graph.inputs)
        return f"({inputs}), {self.parameters} parameters"


def load(
    path: str | os.PathLike[str],
    *,
    net: str | None = None,
    set: Settings | None = None,
    batch: Batch | None = None,
    weights: bool = True,
    import_path: Folders = (),
) -> Model:
    """Read a `.cnn` file; UserError with everything that is wrong in it.

    `net` chooses one of several nets, `set` overrides params, `batch` is how many samples a run
    takes: a number, or a range such as `(1, 32)` for a program that takes any of them. Without
    `weights` the weights file is not opened: shapes are known, nothing runs. Files it imports lie
    beside it, in one of the folders `import_path`, or of the variable CNNC_PATH.
    """
    if Path(path).suffix.lower() == SUFFIX:
        help = "`load_compiled` reads it; a Model needs the .cnn file"
        raise fail("E0703", f"`{path}` is a compiled network, not a text", help=help)
    _prepare()
    folders = _import_path(import_path)
    choices = frontend.Choices(set or {}, net, batch, weights, import_path=folders)
    return Model(frontend.load(Path(path), choices), choices)


def load_text(
    text: str,
    *,
    name: str = "<text>",
    folder: str | os.PathLike[str] | None = None,
    net: str | None = None,
    set: Settings | None = None,
    batch: Batch | None = None,
    weights: bool = True,
    import_path: Folders = (),
) -> Model:
    """The same for a text; files it names must lie in `folder`, `name` stands in messages."""
    _prepare()
    folders = _import_path(import_path)
    choices = frontend.Choices(set or {}, net, batch, weights, import_path=folders)
    where = None if folder is None else Path(folder)
    return Model(frontend.load_text(SourceFile(name, text), where, choices), choices)


def _prepare() -> None:
    """Let the parser use the cache; that its folder cannot be made is said where it is needed."""
    with suppress(UserError):
        prepare(open_cache())


def _import_path(folders: Folders) -> tuple[Path, ...]:
    if isinstance(folders, str | os.PathLike):
        folders = (folders,)
    return (*map(Path, folders), *read_import_path())


def analyze(model: Model, inputs: Given | None = None, **wishes: Any) -> "Analysis":
    """What convolution buys in a network: see `Model.analyze`, which takes the same."""
    return model.analyze(inputs, **wishes)


def _restore(snapshot: Snapshot, hollow: frontend.LoadedNet, choices: frontend.Choices) -> Model:
    return Model(replace(hollow, graph=snapshot.restore()), choices)


def _first_batch(graph: Graph, inputs: Given) -> dict[str, Array]:
    """One batch of the given samples by input; UserError where there are fewer."""
    bound = Binding(Interface.of(graph)).bind(inputs, {})
    if bound.samples < graph.batch:
        raise fail("E0601", f"{bound.samples} samples are given, {graph.batch} are needed")
    names = (node.name for node in graph.inputs)
    first = (array[: graph.batch] for array in bound.arrays)
    return dict(zip(names, first, strict=True))


def _no_weights(node: Node) -> Exception:
    return fail(
        "E0408",
        f"`{node.name}` has no values, because the network was loaded without weights",
        node.span,
        help="load it with weights",
    )
