"""Times of choices for a layer, measured."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cnnc import driver
from cnnc.backends.base import Executable
from cnnc.base.choice import Choice, Choices, Chosen
from cnnc.base.target import Target
from cnnc.bench import Call, repeats_of, seconds_of
from cnnc.lowering.lowered import Layer
from cnnc.memory import aligned, drawn, packed
from cnnc.options import Options
from cnnc.tuning.subjects import Subject, laid_out, single

Measure = Callable[[Subject, Sequence[Choice], int], list[list[float]]]
"""Seconds of each choice for a layer, so many times, in turn."""
Array = NDArray[np.generic]


class Stopwatch:
    """Compiles choices and times them on random operands."""

    def __init__(self, target: Target, options: Options, facts: str, seed: int = 0) -> None:
        self._target, self._options, self._facts, self._seed = target, options, facts, seed
        self._subject: Subject | None = None
        self._made: dict[Choice, tuple[Executable, Layer]] = {}

    def __call__(
        self, subject: Subject, choices: Sequence[Choice], rounds: int
    ) -> list[list[float]]:
        """See Measure. Every measurement follows a call that is not timed."""
        calls = [self._call(*self._compiled(subject, choice)) for choice in choices]
        repeats = [repeats_of(call) for call in calls]
        samples: list[list[float]] = [[] for _ in calls]
        for _ in range(rounds):
            for call, count, found in zip(calls, repeats, samples, strict=True):
                call()
                found.append(seconds_of(call, count))
        return samples

    def _compiled(self, subject: Subject, choice: Choice) -> tuple[Executable, Layer]:
        if subject is not self._subject:
            self._subject, self._made = subject, {}
        if choice not in self._made:
            self._made[choice] = self._compile(subject, choice)
        return self._made[choice]

    def _compile(self, subject: Subject, choice: Choice) -> tuple[Executable, Layer]:
        choices = Choices({subject.key: Chosen(choice)}, self._facts)
        exact = self._options.exact
        node = laid_out(subject.graph, self._target, exact=exact, choices=choices)
        lowered = driver.lower_graph(single(node), self._target, choices=choices)
        if self._options.threads == 1:  # a kernel is called with its weights
            program = replace(lowered.program, weights=(), weights_bytes=0)
            lowered = replace(lowered, program=program)
        executable = driver.compile_lowered(lowered, self._target, self._options)
        return executable, lowered.layers[0]

    def _call(self, executable: Executable, layer: Layer) -> Call:
        """The kernel alone on one thread, or shared between several."""
        random = np.random.default_rng(self._seed)
        *params, out = layer.kernel.params
        given: dict[str, Array] = {}
        buffers: list[Array] = []
        for param, operand in zip(params, layer.operands, strict=False):
            values = operand.constant
            if values is None:
                values = drawn(random, param.shape, param.dtype)
            buffers.append(packed(param, values))
            given[operand.name] = buffers[-1]
        result = aligned(out.layout.size(out.shape), out.dtype.numpy)
        result[:] = 0
        if self._options.threads == 1:
            return executable.bind_kernel(0, [*buffers, result])
        ports = [given[port.name] for port in executable.program.inputs]
        return partial(executable.run, ports, [result])
