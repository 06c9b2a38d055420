"""A network compiled before, read from its file."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from cnnc import machine
from cnnc.artifact import Artifact, Provenance, open_artifact, write_artifact
from cnnc.base.vectors import CheckVectors
from cnnc.layers import Layers
from cnnc.memory import aligned
from cnnc.network import Network


class Loaded(Network):
    """A network ready to run that was compiled elsewhere; `load_compiled` makes it, it pickles.

    It has no graph: what needs one (`diff`, `show`) needs the text. `fill` reads the weights.
    """

    def __init__(self, artifact: Artifact, fill: Callable[[], None] = lambda: None) -> None:
        # not above: importing cnnc is light, and this is where LLVM's linker is loaded
        from cnnc.backends.native.backend import Image

        self._artifact = artifact
        image = Image(
            objects=artifact.objects,
            weights=artifact.weights,
            arena_bytes=artifact.arena_bytes,
            scratch_bytes=artifact.scratch_bytes,
            is_shared=artifact.is_shared,
            is_short=artifact.is_short,
            inputs=len(artifact.interface.inputs),
            outputs=len(artifact.interface.outputs),
        )
        options = artifact.options
        runner = machine.load_code(image, artifact.target, options.threads)
        # last: what LLVM takes was given back
        fill()
        super().__init__(artifact.interface, options, runner)

    @property
    def layers(self) -> Layers:
        """The layers as they run, with shapes, parameters, MACs, bytes, layouts and tiles."""
        return self._artifact.layers

    @property
    def provenance(self) -> Provenance:
        """What it was compiled from, and by which versions."""
        return self._artifact.provenance

    @property
    def checks(self) -> tuple[CheckVectors, ...]:
        """The golden vectors that came with it."""
        return self._artifact.checks

    @property
    def weights_bytes(self) -> int:
        """Bytes of its constants."""
        return len(self._artifact.weights)

    @property
    def arena_bytes(self) -> int:
        """Bytes each running call takes for what lies between layers, and what threads need."""
        artifact = self._artifact
        return artifact.arena_bytes + artifact.options.threads * artifact.scratch_bytes

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to another file; UserError where that fails."""
        write_artifact(Path(path), self._artifact)

    def __reduce__(self) -> tuple[object, tuple[Artifact]]:
        return _restore, (self._artifact,)


def load_compiled(path: str | os.PathLike[str], *, threads: int | None = None) -> Loaded:
    """Read a file that `Compiled.save` or `cnnc compile` wrote; UserError where it is not sound.

    Nothing is compiled: the file holds machine code, and running it is running a program, so load
    only files you trust. `threads` may differ from what it was compiled with.
    """
    artifact, fill = open_artifact(Path(path))
    if threads is not None:
        artifact = replace(artifact, options=replace(artifact.options, threads=threads))
    return Loaded(artifact, fill)


def _restore(artifact: Artifact) -> Loaded:
    weights = aligned(len(artifact.weights), np.dtype(np.uint8)).view(np.uint8)
    weights[:] = artifact.weights
    return Loaded(replace(artifact, weights=weights))
