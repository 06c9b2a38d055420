"""Layers that are computed band by band, for tests."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from cnnc.backends.base import Backend
from cnnc.backends.native.targets import named_target
from cnnc.base.source import SourceFile
from cnnc.base.target import Target
from cnnc.driver import optimise, pipeline
from cnnc.frontend.load import Choices, load_text
from cnnc.ir.graph import Array, Graph
from cnnc.ir.rewrite import substitute
from cnnc.ir.verify import verify
from cnnc.lowering.lower import lower
from cnnc.offers.streamed import joined
from cnnc.passes.share_memory import share_memory
from cnnc.passes.stream_rows import join, lines
from tests.backends.support import in_blocks

TARGET = named_target("x86-64")


def plan(body: str, shape: str, target: Target, batch: int = 1) -> Graph:
    """A net before layers are joined, with channels in blocks, as those that are have them."""
    text = (
        f"cnn 1\nnet n {{\n  input x: f32[N, {shape}]\n"
        f"  {body if 'output' in body else f'output y = x -> {body}'}\n  weights he(seed = 3)\n}}\n"
    )
    graph = load_text(SourceFile("n.cnn", text), None, Choices(batch=batch)).graph
    later = ("use-winograd", "stream-rows", "share-memory")
    passes = pipeline(target, choices=in_blocks(graph))
    return optimise(graph, [each for each in passes if each.name not in later])


def stream_all(
    graph: Graph, rows: int, strips: Mapping[int, int] = MappingProxyType({}), runs: int = 0
) -> Graph:
    """The graph with all lines of layers joined, where so many rows make a band.

    Of some stages, so many blocks of channels make a strip. Bands come in so many runs, if any.
    """
    replacements = {
        line[-1]: join(line, joined(line, rows, strips, runs)) for line in lines(graph, TARGET)
    }
    assert replacements
    made = substitute(graph, replacements)
    verify(made)
    return share_memory(made)


def outputs(graph: Graph, x: Array, backend: Backend, target: Target, threads: int = 1) -> Array:
    """The result, in memory that was full of an odd number."""
    program = lower(graph, target).program
    out = np.full(program.outputs[0].shape, 12345, np.float32)
    backend.compile(program, target, threads).run([x], [out])
    return out


def special(graph: Graph, seed: int) -> Array:
    """An input of random numbers with a few that are not finite."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((graph.batch, *graph.inputs[0].type.shape[1:]), np.float32)
    flat = x.reshape(-1)
    for value in (np.nan, np.inf, -np.inf):
        flat[random.integers(0, flat.size, 2)] = value
    return x
