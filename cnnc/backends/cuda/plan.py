"""A program as launches of device kernels, and where their memory lies."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from math import gcd

import numpy as np
from numpy.typing import NDArray

from cnnc.backends.abi import HEAD_BYTES, Abi
from cnnc.backends.cuda.constants import Constant, Weights, bytes_of, packed
from cnnc.backends.cuda.generic import GENERIC, generic_kernel
from cnnc.backends.cuda.joining import chain_from, joined_name
from cnnc.backends.cuda.kernel import COUNTERS, WORKSPACE, CudaKernel, Packing, Samples, Wish
from cnnc.backends.cuda.kernels.joined import Joined
from cnnc.backends.cuda.kernels.registry import JOINED, MOST_JOINED, OFFERS, Offer
from cnnc.backends.cuda.names import FILES, FUNCTIONS, renamed
from cnnc.backends.cuda.prims import prims_header
from cnnc.backends.cuda.storage import Storage
from cnnc.base.errors import fail
from cnnc.base.record import record
from cnnc.base.target import Target
from cnnc.loop.expr import Buffer
from cnnc.loop.kernel import Kernel, Place, Program, Region, Step, align
from cnnc.loop.task import Task

PIECE = 16
"""Bytes that kernels written by hand move at once: their tensors begin at multiples of it."""


@record
class Launch:
    """One launch, of the program's distinct kernel of this number.

    Elements of the `narrow` parameters have 16 bits in memory.
    `arguments` says for each pointer what it is relative to, and by how many bytes.
    `samples` says how the grid follows the samples of a run, where these may be fewer. Where it
    does the work of several steps, `joined` are their loops, and `loops` has what it takes.
    """

    number: int
    layer: str
    kernel: CudaKernel
    arguments: tuple[tuple[str, int], ...]
    is_generic: bool
    samples: Samples | None
    loops: Kernel
    narrow: frozenset[str] = frozenset()
    joined: tuple[Kernel, ...] = ()

    @property
    def moved_bytes(self) -> int:
        """Bytes of all parameters, each read or written once; none flow between joined layers."""
        packed = {each.argument: each.bytes for each in self.kernel.packings}
        return sum(
            packed.get(param.name) or self.bytes_of(replace(param, layout=param.layout.alone))
            for param in (self.loops.task or self.loops).params
        )

    def bytes_of(self, param: Buffer) -> int:
        """Bytes from a parameter's first element in memory to its last."""
        return param.size * (2 if param.name in self.narrow else param.dtype.bytes)


@record
class Plan:
    """Everything a generated program knows.

    `arena_bytes` has tensors, then workspace, then counters. `weights` are the constants at their
    places behind the head; `abi.hash` stands for them too. `alone` has a launch for each kernel of
    the program that is only run joined with others, for who wants to run one layer.
    """

    abi: Abi
    arch: int
    precision: str
    launches: tuple[Launch, ...]
    alone: tuple[Launch, ...]
    weights: tuple[Constant, ...]
    arena_bytes: int
    workspace: int
    counters: int
    counter_bytes: int
    macs: int
    weights_bytes: int

    @property
    def kernels(self) -> tuple[Launch, ...]:
        """The first launch of each distinct function, in order."""
        return tuple({launch.kernel.name: launch for launch in reversed(self.launches)}.values())[
            ::-1
        ]

    @property
    def singles(self) -> tuple[Launch, ...]:
        """Launches of distinct functions that compute one layer each."""
        return (*(each for each in self.kernels if not each.joined), *self.alone)

    def launch_of(self, kernel: int) -> Launch:
        """A launch that computes a distinct kernel of the program, and nothing else: one that
        rounds least."""
        launches = (*self.launches, *self.alone)
        found = (each for each in launches if each.number == kernel and not each.joined)
        return min(found, key=lambda each: len(each.narrow))

    def weights_file(self) -> NDArray[np.uint8]:
        """The head and all constants."""
        memory = np.zeros(self.abi.weights_bytes, np.uint8)
        memory[:HEAD_BYTES] = np.frombuffer(self.abi.head, np.uint8)
        for constant in self.weights:
            start = HEAD_BYTES + constant.offset
            memory[start : start + constant.bytes] = constant.fill()
        return memory


def plan_cuda(
    program: Program, target: Target, name: str | None = None, offers: Sequence[Offer] = OFFERS
) -> Plan:
    """How a GPU runs a program; UserError for a name that no symbol can begin with.

    What none of the `offers` takes is computed as the loops say, a thread for each result.
    """
    abi = renamed(Abi.of(program, name))
    if abi.name.lower() in FILES:
        help = "choose another with `--name`"
        raise fail("E0803", f"the code has another file called `{abi.name}`", help=help)
    storage = Storage.of(program, target.features)
    planner = _Planner(program, abi, target, storage, offers)
    launches = planner.launches()
    workspace = storage.bytes
    counters = workspace + align(max((e.kernel.workspace_bytes for e in launches), default=0))
    counter_bytes = 4 * max((each.kernel.counters for each in launches), default=0)
    places = {WORKSPACE: ("arena", workspace), COUNTERS: ("arena", counters)}
    placed = tuple(
        replace(each, arguments=tuple(places.get(base, (base, at)) for base, at in each.arguments))
        for each in launches
    )
    weights_bytes = align(planner.weights.bytes)
    made = replace(
        abi,
        hash=_hash(abi, placed),
        weights_bytes=HEAD_BYTES + weights_bytes,
    )
    return Plan(
        abi=made,
        arch=int(target.cpu.removeprefix("sm_")),
        precision=target.features,
        launches=placed,
        alone=planner.alone(launches),
        weights=tuple(planner.weights.found.values()),
        arena_bytes=counters + align(counter_bytes),
        workspace=workspace,
        counters=counters,
        counter_bytes=counter_bytes,
        macs=sum(planner.macs(step) for step in program.steps),
        weights_bytes=weights_bytes,
    )


class _Planner:
    """Finds a kernel for each step."""

    def __init__(
        self,
        program: Program,
        abi: Abi,
        target: Target,
        storage: Storage,
        offers: Sequence[Offer],
    ) -> None:
        self.program = program
        self.storage = storage
        self.offers = offers
        self.abi = abi
        self.target = target
        self.weights = Weights()
        self.blobs = {blob.offset: blob for blob in program.weights}
        self.functions: dict[tuple[int, int, frozenset[str]], CudaKernel] = {}
        self.joined: dict[object, Joined | None] = {}
        self.taken = {f"{abi.name}_{each}" for each in FUNCTIONS}

    def macs(self, step: Step) -> int:
        """Multiply-accumulates of a step."""
        task = self.program.kernels[step.kernel].task
        return task.macs if task else 0

    def launches(self) -> list[Launch]:
        """How all steps are run, several at once where a kernel is offered for that."""
        found, number = list[Launch](), 0
        while number < len(self.program.steps):
            steps = chain_from(self.program, number, MOST_JOINED if self.offers else 1)
            runs = (self._joined(steps[:count]) for count in range(len(steps), 1, -1))
            launch = next(filter(None, runs), None) or self.launch(steps[0])
            found.append(launch)
            number += len(launch.joined) or 1
        return found

    def alone(self, launches: Sequence[Launch]) -> tuple[Launch, ...]:
        """A launch for each kernel of the program that is in none of these by itself.

        Its arguments are not known, as nobody runs it within the network.
        """
        there = {each.number for each in launches if not each.joined}
        firsts = {step.kernel: step for step in reversed(self.program.steps)}
        return tuple(
            self._launch(firsts[number], place=False) for number in sorted(firsts.keys() - there)
        )

    def _joined(self, steps: Sequence[Step]) -> Launch | None:
        """One launch for these steps; None where no kernel is offered."""
        loops = [self.program.kernels[step.kernel] for step in steps]
        tasks = [each.task for each in loops if each.task]
        alignment = gcd(*(self._alignment(*each) for each in zip(steps, loops, strict=True)))
        narrow = self._narrow_ends(steps, loops)
        key = tuple(step.kernel for step in steps), alignment, narrow
        if len(tasks) < len(steps) or alignment < (2 if narrow else 4):
            return None
        if key not in self.joined:
            wish = self._wish(self._name(joined_name(steps)), loops[0], alignment, narrow)
            offered = (offer(tasks, wish) for offer in JOINED)
            self.joined[key] = next(filter(None, offered), None)
        if (found := self.joined[key]) is None:
            return None
        arguments, params = list[tuple[str, int]](), list[Buffer]()
        for name, source in found.arguments:
            at, param = (source.task, source.param) if source else (0, name)
            arguments.append(self._argument(name, param, steps[at], loops[at], found.kernel))
            if source:
                params.append(replace(find_param(loops[at], param), name=name))
        taken = Kernel(joined_name(steps), tuple(params), ("y",), ())
        launch = steps[0].kernel, taken.name, found.kernel, tuple(arguments), False, None, taken
        return Launch(*launch, narrow, tuple(loops))

    def _narrow_ends(self, steps: Sequence[Step], loops: Sequence[Kernel]) -> frozenset[str]:
        """Whether what joined steps read first and write last has 16 bits: `x` and `y` of them."""
        reads = loops[0].params[0].name in self.storage.narrow(steps[0], loops[0])
        writes = loops[-1].params[-1].name in self.storage.narrow(steps[-1], loops[-1])
        return frozenset(["x"] * reads + ["y"] * writes)

    def _alignment(self, step: Step, loops: Kernel) -> int:
        places = zip(step.places, loops.params, strict=True)
        return gcd(PIECE, *(self.storage.offset(*each) for each in places))

    def launch(self, step: Step) -> Launch:
        """How a step is run."""
        return self._launch(step, place=True)

    def _launch(self, step: Step, *, place: bool) -> Launch:
        loops = self.program.kernels[step.kernel]
        alignment, narrow = self._alignment(step, loops), self.storage.narrow(step, loops)
        key = step.kernel, alignment, narrow
        if key not in self.functions:
            self.functions[key] = self._kernel(step, loops, alignment, narrow)
        kernel = self.functions[key]
        is_generic = kernel.comment.startswith(GENERIC)
        samples = kernel.samples if loops.takes_samples else None
        names = kernel.arguments if place else ()
        arguments = tuple(self._argument(each, each, step, loops, kernel) for each in names)
        launch = step.kernel, step.layer, kernel, arguments, is_generic, samples, loops, narrow
        return Launch(*launch)

    def _kernel(
        self, step: Step, loops: Kernel, alignment: int, narrow: frozenset[str]
    ) -> CudaKernel:
        name = self._name(step.layer)
        wish = self._wish(name, loops, alignment, narrow)
        if loops.task and alignment >= (2 if narrow else 4):
            for offer in self.offers:
                found = offer(loops.task, wish)
                enough = found is not None and (found.samples or not wish.takes_samples)
                if found is not None and enough and _fits(found):
                    return found
        return generic_kernel(loops, wish)

    def _wish(self, name: str, loops: Kernel, alignment: int, narrow: frozenset[str]) -> Wish:
        arch, few = int(self.target.cpu.removeprefix("sm_")), loops.takes_samples
        target = self.target
        return Wish(name, arch, target.features, target.cores, few, alignment, narrow)

    def _name(self, layer: str) -> str:
        plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in layer)
        name, number = f"{self.abi.name}_{plain}", 1
        while name in self.taken:
            number += 1
            name = f"{self.abi.name}_{plain}_{number}"
        self.taken.add(name)
        return name

    def _argument(
        self, name: str, source: str, step: Step, loops: Kernel, kernel: CudaKernel
    ) -> tuple[str, int]:
        """Where an argument of the kernel lies, the parameter `source` of the loops."""
        if name in (WORKSPACE, COUNTERS):
            return name, 0
        param = find_param(loops, source)
        place = step.places[loops.params.index(param)]
        if place.region is Region.WEIGHTS:
            packing = next((each for each in kernel.packings if each.argument == name), None)
            return "weights", self._constant(place, param, loops.task, packing)
        if place.region is Region.ARENA:
            return "arena", self.storage.offset(place, param)
        ends = self.abi.inputs if place.region is Region.INPUT else self.abi.outputs
        return ends[place.index].c_name, place.offset

    def _constant(
        self, place: Place, param: Buffer, task: Task | None, packing: Packing | None
    ) -> int:
        blob = self.blobs[place.offset]
        if packing is None:
            size = blob.contents.bytes
            return self.weights.place(blob.offset, size, partial(bytes_of, blob))
        assert task is not None
        fill = partial(packed, blob, task.param(param.name), packing)
        return self.weights.place((blob.offset, packing.key), packing.bytes, fill)


def find_param(loops: Kernel, name: str) -> Buffer:
    """The parameter of this name."""
    return next(param for param in loops.params if param.name == name)


def _fits(kernel: CudaKernel) -> bool:
    """Whether a GPU takes a grid of that many blocks."""
    x, y, z = kernel.grid
    return x < 2**31 and y < 2**16 and z < 2**16


def _hash(abi: Abi, launches: Sequence[Launch]) -> int:
    """Weights fit where the same kernels read the same places."""
    text = [f"cuda {abi.hash:x}"]
    for each in launches:
        keys = [packing.key for packing in each.kernel.packings]
        text.append(f"{each.arguments} {keys} {each.kernel.source}")
    text.append(prims_header())
    return int.from_bytes(sha256("\n".join(text).encode()).digest()[:8], "little")
