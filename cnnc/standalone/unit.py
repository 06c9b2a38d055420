"""One network on its way to output: what every form is made from, each part made once."""

from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cnnc import driver
from cnnc.api import Model
from cnnc.backends.abi import HEAD_BYTES, Abi
from cnnc.backends.native.backend import pack_weights
from cnnc.base.target import Target
from cnnc.loop.kernel import Program
from cnnc.lowering.lowered import Lowered
from cnnc.standalone import code
from cnnc.standalone.request import Request
from cnnc.tunefile import read_choices


class Unit:
    """A model, the targets of the request, and the programs for them.

    UserError for targets that are not known, and for names that no symbol can have.
    """

    def __init__(self, model: Model, request: Request) -> None:
        self.model = model
        self.request = request
        self.targets = tuple(
            replace(target, cores=request.threads)
            for target in driver.find_versions(request.target)
        )

    @cached_property
    def lowered(self) -> tuple[Lowered, ...]:
        """The network's loops, for each target."""
        return tuple(map(self._lower, self.targets))

    def _lower(self, target: Target) -> Lowered:
        exact = self.request.exact
        choices = read_choices(self.request.tuning, target, exact=exact)
        return driver.plan(self.model.graph, target, exact=exact, choices=choices)[0]

    @property
    def programs(self) -> tuple[Program, ...]:
        """The programs for the targets."""
        return tuple(lowered.program for lowered in self.lowered)

    @cached_property
    def abi(self) -> Abi:
        """The C interface."""
        return Abi.of_versions(self.programs, self.request.name)

    @property
    def name(self) -> str:
        """What every symbol and file begins with."""
        return self.abi.name

    @cached_property
    def weights(self) -> NDArray[np.uint8]:
        """The weights as a file holds them: the head, then those of each target."""
        memory = np.zeros(self.abi.weights_bytes, np.uint8)
        memory[:HEAD_BYTES] = np.frombuffer(self.abi.head, np.uint8)
        for start, program in zip(self.abi.payloads, self.programs, strict=True):
            pack_weights(program.weights, memory[start : start + program.weights_bytes])
        return memory

    @cached_property
    def object_code(self) -> bytes:
        """The object file, with the weights if these are built in."""
        return code.object_code(self)
