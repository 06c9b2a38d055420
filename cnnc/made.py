"""An optimised graph made to run, with what the user's cache has of it."""

from collections.abc import Mapping
from functools import cached_property

from cnnc import driver
from cnnc.backends.base import Executable
from cnnc.base.choice import Choices
from cnnc.base.errors import InternalError
from cnnc.base.store import Store
from cnnc.base.target import Target
from cnnc.cache import open_cache
from cnnc.container import UnsoundError
from cnnc.ir.graph import Graph
from cnnc.kept import Kept, find_kept, may_keep, program_key, write_kept
from cnnc.lowering.lowered import Lowered
from cnnc.options import Options, read_knobs

NATIVE = "native"


class Loops:
    """The loops of an optimised graph, made when somebody asks for them.

    `kept` is the program that runs already, where the cache had it.
    """

    def __init__(self, graph: Graph, target: Target, choices: Choices, kept: Kept) -> None:
        self._graph = graph
        self._target = target
        self._choices = choices
        self._kept = kept

    @cached_property
    def lowered(self) -> Lowered:
        """Program and layers; InternalError where they are not what runs."""
        lowered = driver.lower_graph(self._graph, self._target, choices=self._choices)
        keys = driver.code_keys(lowered, self._target)
        if Kept.of(lowered.program, self._graph, keys) != self._kept:
            why = "the cache has another program than lowering makes: `cnnc cache clear`"
            raise InternalError(why, stage="cache")
        return lowered


class Made:
    """What runs, and its loops.

    Machine code, or whatever the backend of the options makes of the graph. Where the store, or
    else the user's cache, has program and code, nothing is lowered. With a knob that shows how code
    is made, it is made.
    """

    executable: Executable

    def __init__(
        self,
        graph: Graph,
        target: Target,
        options: Options,
        choices: Choices,
        store: Store | None = None,
    ) -> None:
        self._graph, self._target, self._choices = graph, target, choices
        self._kept: Kept | None = None
        look = read_knobs().look
        store = None if look else store or open_cache()
        keeps = store if options.backend == NATIVE and self._may_keep else None
        if keeps and self._recall(keeps, options.threads):
            return
        if look or options.backend != NATIVE:
            self._loops: Loops | Lowered = driver.lower_graph(graph, target, choices=choices)
            self.executable = driver.compile_lowered(self._loops, target, options, store)
        else:
            with driver.compile_ahead(target, store) as kernels:
                self._loops = driver.lower_graph(graph, target, None, choices, kernels.begin)
                self.executable = driver.compile_lowered(self._loops, target, options, kernels)
        if keeps:
            keeps.put(self._key, write_kept(self._program, self._key))

    @property
    def lowered(self) -> Lowered:
        """Program and layers, made where the cache had the program."""
        return self._loops.lowered if isinstance(self._loops, Loops) else self._loops

    @property
    def code(self) -> Mapping[str, bytes]:
        """Program and object code by the keys a store knows them by; none of other backends."""
        image = driver.machine_code(self.executable)
        if image is None:
            return {}
        kept = self._program
        code = dict(zip(kept.objects, image.objects, strict=True))
        return {**code, self._key: write_kept(kept, self._key)} if self._may_keep else code

    @cached_property
    def _may_keep(self) -> bool:
        return may_keep(self._graph)

    @cached_property
    def _key(self) -> str:
        return program_key(self._graph, self._target, self._choices)

    @property
    def _program(self) -> Kept:
        if self._kept is None:
            keys = driver.code_keys(self.lowered, self._target)
            self._kept = Kept.of(self.lowered.program, self._graph, keys)
        return self._kept

    def _recall(self, store: Store, threads: int) -> bool:
        """Take all from the store, if it has all and that is sound."""
        # not above: what other backends make needs no LLVM
        from cnnc.backends.native.backend import (
            Image,
            NativeExecutable,
            aligned_bytes,
            pack_weights,
        )

        kept = find_kept(store, self._key)
        found = [store.get(key) for key in kept.objects] if kept else []
        objects = tuple(each for each in found if each is not None)
        if kept is None or not objects or len(objects) != len(found):
            return False
        try:
            blobs = kept.blobs(self._graph)
        except (UnsoundError, ValueError):
            return False
        image = Image(
            objects=objects,
            weights=aligned_bytes(kept.weights_bytes),
            arena_bytes=kept.arena_bytes,
            scratch_bytes=kept.scratch_bytes,
            is_shared=kept.is_shared,
            is_short=kept.is_short,
            inputs=len(self._graph.inputs),
            outputs=len(self._graph.outputs),
        )
        loops = Loops(self._graph, self._target, self._choices, kept)
        self._loops, self._kept = loops, kept
        self.executable = NativeExecutable(
            lambda: loops.lowered.program, image, self._target, threads, store
        )
        pack_weights(blobs, image.weights)
        return True
