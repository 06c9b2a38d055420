"""A network compiled in this process: everything about it can be looked at."""

import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from cnnc import driver, gpu, machine
from cnnc.artifact import Artifact, Provenance, write_artifact
from cnnc.backends.base import Executable, Runner
from cnnc.base.choice import ESTIMATED, Choices
from cnnc.base.errors import UserError, fail
from cnnc.base.record import record
from cnnc.base.store import Store
from cnnc.base.target import Target
from cnnc.base.vectors import CheckVectors
from cnnc.device import OnDevice
from cnnc.interface import Interface
from cnnc.ir.evaluate import evaluate
from cnnc.ir.graph import Graph
from cnnc.layers import Layers
from cnnc.listing import graph_layers, lowered_layers
from cnnc.lowering.lowered import Lowered
from cnnc.made import Made
from cnnc.network import Network, padded
from cnnc.options import REFERENCE, Options
from cnnc.snapshot import Snapshot
from cnnc.tunefile import read_choices
from cnnc.version import __version__

Array = NDArray[np.generic]


class Compiled(Network):
    """A network ready to run, with all that the compiler knows of it; it pickles.

    `graph` is the network as built; `lowered` what the compiler made of it, None for the
    reference; `choices` what a tune file says, and `tuned` the keys of those that are
    about its layers; `provenance` the text it comes from, and the versions that compiled it.
    """

    def __init__(
        self,
        graph: Graph,
        options: Options,
        provenance: Provenance | None = None,
        store: Store | None = None,
        choices: Choices | None = None,
    ) -> None:
        options = options.completed
        self.graph = graph
        self.provenance = _made_here(provenance or Provenance(), options)
        self._made: Made | None = None
        self.choices = ESTIMATED
        self.tuned: frozenset[str] = frozenset()
        runner: Runner = _Reference(graph)
        if options.backend != REFERENCE:
            self.target, exact = _runnable_target(options), options.exact
            # a copy in another process has no file to read
            self.choices = choices or read_choices(options.tuning, self.target, exact=exact)
            optimised, self.tuned = driver.prepare(
                graph, self.target, exact=exact, choices=self.choices
            )
            self._made = Made(optimised, self.target, options, self.choices, store)
            runner = self._made.executable
        super().__init__(Interface.of(graph), options, runner)
        if on_gpu := gpu.find_gpu_runner(runner):
            self._device = OnDevice(self.interface, on_gpu)

    @property
    def lowered(self) -> Lowered:
        """Program and layers, made when first asked for; UserError for the reference."""
        if self._made is None:
            raise _nothing_compiled()
        return self._made.lowered

    @property
    def executable(self) -> Executable:
        """What runs the program; UserError for the reference, which has none."""
        if self._made is None:
            raise _nothing_compiled()
        return self._made.executable

    @cached_property
    def layers(self) -> Layers:
        """The layers as they run, with shapes, parameters, MACs, bytes, layouts and tiles."""
        return lowered_layers(self.lowered) if self._made else graph_layers(self.graph)

    def save(self, path: str | os.PathLike[str], checks: Sequence[CheckVectors] = ()) -> None:
        """Write a file that `load_compiled` runs without compiling, on machines like this one.

        It holds machine code and weights; `checks` (see `Model.checks`) go with it. UserError for
        other backends than `native`, and where the file cannot be written.
        """
        image = driver.machine_code(self._made.executable if self._made else None)
        if image is None:
            raise fail(
                "E0801",
                f"the backend `{self.options.backend}` makes no machine code to write",
                help="compile with the backend `native`",
            )
        artifact = Artifact(
            interface=self.interface,
            options=self.options,
            target=self.target,
            layers=self.layers,
            checks=tuple(checks),
            provenance=self.provenance,
            objects=image.objects,
            weights=image.weights,
            arena_bytes=image.arena_bytes,
            scratch_bytes=image.scratch_bytes,
            is_shared=image.is_shared,
            is_short=image.is_short,
        )
        write_artifact(Path(path), artifact)

    @cached_property
    def _pickle(self) -> "_Pickle":
        code = self._made.code if self._made else {}
        source = (Snapshot.take(self.graph), self.options, self.provenance, self.choices)
        return _Pickle(sha256(pickle.dumps(source)).digest(), *source, _Kept(code))

    def __reduce__(self) -> tuple[object, tuple["_Pickle"]]:
        return _restore, (self._pickle,)


class _Reference(Runner):
    """Runs the operators' references."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """See Runner: fewer samples than the batch are filled up with zeros."""
        given = zip(self._graph.inputs, inputs, strict=True)
        whole = {node.name: padded(array, node.type.shape[0]) for node, array in given}
        values = evaluate(self._graph, whole)
        for result, value in zip(outputs, values.values(), strict=True):
            result[...] = value[: len(result)]


@record
class _Kept:
    """Object code that travels with a pickle: a store that is only read."""

    objects: Mapping[str, bytes]

    def get(self, key: str) -> bytes | None:
        """See Store."""
        return self.objects.get(key)

    def put(self, key: str, data: bytes) -> None:
        """See Store: what this machine had to make is not kept here."""


@record
class _Pickle:
    """The source graph, and the code made of it: used where lowering gives the same loops.

    Pickles of the same network have the same digest.
    """

    digest: bytes
    graph: Snapshot
    options: Options
    provenance: Provenance
    choices: Choices
    code: _Kept


def _restore(made: _Pickle) -> Compiled:
    """The network again. A worker gets the same one with every task, and makes it once."""
    with _LOCK:
        found = _RESTORED.pop(made.digest, None)
        if found is None:
            graph = made.graph.restore()
            found = Compiled(graph, made.options, made.provenance, made.code, made.choices)
        _RESTORED[made.digest] = found
        while len(_RESTORED) > MAX_RESTORED:
            del _RESTORED[next(iter(_RESTORED))]
    return found


MAX_RESTORED = 2
"""How many unpickled networks a process keeps for the next pickle of the same ones."""
_RESTORED: dict[bytes, Compiled] = {}
_LOCK = Lock()


def _made_here(provenance: Provenance, options: Options) -> Provenance:
    is_native = options.backend == "native"
    llvm = ".".join(map(str, machine.llvm_version())) if is_native else ""
    return replace(provenance, cnnc=__version__, llvm=llvm)


def _runnable_target(options: Options) -> Target:
    target = driver.target_for(options)
    if options.backend == "native" and not driver.can_run(target):
        raise fail(
            "E0801",
            f"code for `{options.target}` does not run on this machine",
            help="leave the target at `native`, or look at the code with `cnnc show`",
        )
    return target


def _nothing_compiled() -> UserError:
    return fail(
        "E0801",
        "the reference has no compiled program",
        help="compile with the backend `native` or `interp`",
    )
