"""One network on its way to output: what every form is made from, each part made once."""

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cnnc import driver
from cnnc.api import Model
from cnnc.backends.abi import Abi, fill_weights
from cnnc.base.target import Target
from cnnc.loop.kernel import Program
from cnnc.lowering.lowered import Lowered
from cnnc.standalone import code
from cnnc.standalone.archive import Object
from cnnc.standalone.request import Request
from cnnc.standalone.toolchain import find_linker, object_suffix
from cnnc.tunefile import read_choices

if TYPE_CHECKING:
    from cnnc.backends.native.standalone import Code


class Unit:
    """A model, the targets of the request, and the programs for them.

    UserError for targets that are not known, and for names that no symbol can have.
    """

    def __init__(self, model: Model, request: Request) -> None:
        self.model = model
        self.request = request
        found = driver.find_versions(request.target) if request.gpu is None else ()
        self.targets = tuple(replace(target, cores=request.threads) for target in found)
        if request.gpu is not None:
            self.targets = (driver.target_for(request.gpu),)

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
        fill_weights(self.programs, self.abi, memory)
        return memory

    @cached_property
    def linker_version(self) -> str | None:
        """What the linker of a shared library says of itself; None where there is none."""
        if not self.request.wants("so"):
            return None
        return find_linker(self.targets[0], self.request.cc).version

    @cached_property
    def code(self) -> "Code":
        """Machine code and what is known of it, the weights apart."""
        return code.machine_code(self)

    @property
    def objects(self) -> tuple[Object, ...]:
        """The object files: the code, and the weights if these are built in."""
        suffix = object_suffix(self.targets[0])
        found = [Object(f"{self.name}{suffix}", self.code.object, code.symbols(self))]
        if self.request.has_weights:
            symbols = (code.weights_symbol(self),)
            found.append(Object(f"{self.name}_weights{suffix}", code.weights_code(self), symbols))
        return tuple(found)
