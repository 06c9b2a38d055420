"""A program as launches of device kernels, and where their memory lies."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from math import gcd

import numpy as np
from numpy.typing import NDArray

from cnnc.backends.abi import HEAD_BYTES, Abi, Argument
from cnnc.backends.cuda.emit import THREADS, emit_kernel, threads_of, threads_per_sample
from cnnc.backends.cuda.kernel import COUNTERS, WORKSPACE, CudaKernel, Packing, Samples, Wish
from cnnc.backends.cuda.kernels.registry import OFFERS, Offer
from cnnc.backends.cuda.prims import prims_header
from cnnc.backends.cuda.storage import Storage
from cnnc.base.errors import fail
from cnnc.base.record import record
from cnnc.base.target import Target
from cnnc.loop.expr import Buffer
from cnnc.loop.kernel import Blob, Kernel, Place, Program, Region, Step, align
from cnnc.loop.task import Task

PIECE = 16
"""Bytes that kernels written by hand move at once: their tensors begin at multiples of it."""
_VARIABLES = """
net stream status bytes made data error at of staging enable start stop argc argv run i on capture
recorded place other device code functions milliseconds check check_cuda read_file name memory file
RUNS At Same On HEAD dim3 calloc exit fclose fopen fprintf fread free memcmp memcpy printf
"""
_RESERVED = frozenset(_VARIABLES.split())
"""What the generated host code calls its variables, and other things beside inputs and outputs."""
_VERBS = """
create run run_host use_graph destroy strerror status_of launch enqueue check_device prepare
capture copy_in copy_out steps_open steps_run steps_close run_step device_malloc device_free
device_read device_wait status net share load fill replay start check_pointers device_create
device_of device_order device_is_captured open_step close_step read order
"""
_FUNCTIONS = frozenset(_VERBS.split())
"""What stands behind the network's name in functions that are no kernels."""
_FILES = frozenset({"cuda_runtime", "cnnc_math", "cnnc_prims", "main"})
"""Headers, or sources, that those of the network would hide."""


@record
class Launch:
    """One launch, of the program's distinct kernel of this number.

    Elements of the `narrow` parameters have 16 bits in memory.
    `arguments` says for each pointer what it is relative to, and by how many bytes.
    `samples` says how the grid follows the samples of a run, where these may be fewer.
    """

    number: int
    layer: str
    kernel: CudaKernel
    arguments: tuple[tuple[str, int], ...]
    is_generic: bool
    samples: Samples | None
    loops: Kernel
    narrow: frozenset[str]

    @property
    def moved_bytes(self) -> int:
        """Bytes of all parameters, each read or written once."""
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
    places behind the head; `abi.hash` stands for them too.
    """

    abi: Abi
    arch: int
    precision: str
    launches: tuple[Launch, ...]
    weights: tuple["Constant", ...]
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

    def launch_of(self, kernel: int) -> Launch:
        """A launch that computes a distinct kernel of the program: one that rounds least."""
        found = (each for each in self.launches if each.number == kernel)
        return min(found, key=lambda each: len(each.narrow))

    def weights_file(self) -> NDArray[np.uint8]:
        """The head and all constants."""
        memory = np.zeros(self.abi.weights_bytes, np.uint8)
        memory[:HEAD_BYTES] = np.frombuffer(self.abi.head, np.uint8)
        for constant in self.weights:
            start = HEAD_BYTES + constant.offset
            memory[start : start + constant.bytes] = constant.fill()
        return memory


@record
class Constant:
    """Bytes among the weights."""

    offset: int
    bytes: int
    fill: Callable[[], NDArray[np.uint8]]


def plan_cuda(
    program: Program, target: Target, name: str | None = None, offers: Sequence[Offer] = OFFERS
) -> Plan:
    """How a GPU runs a program; UserError for a name that no symbol can begin with.

    What none of the `offers` takes is computed as the loops say, a thread for each result.
    """
    abi = _renamed(Abi.of(program, name))
    if abi.name.lower() in _FILES:
        help = "choose another with `--name`"
        raise fail("E0803", f"the code has another file called `{abi.name}`", help=help)
    storage = Storage.of(program, target.features)
    planner = _Planner(program, abi, target, storage, offers)
    launches = [planner.launch(step) for step in program.steps]
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
        weights=tuple(planner.weights.found.values()),
        arena_bytes=counters + align(counter_bytes),
        workspace=workspace,
        counters=counters,
        counter_bytes=counter_bytes,
        macs=sum(planner.macs(step) for step in program.steps),
        weights_bytes=weights_bytes,
    )


class _Weights:
    """Constants laid out one after the other, each once."""

    def __init__(self) -> None:
        self.bytes = 0
        self.found: dict[object, Constant] = {}

    def place(self, key: object, size: int, fill: Callable[[], NDArray[np.uint8]]) -> int:
        """Where the constant lies, behind the head."""
        if key not in self.found:
            self.found[key] = Constant(align(self.bytes), size, fill)
            self.bytes = align(self.bytes) + size
        return self.found[key].offset


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
        self.weights = _Weights()
        self.blobs = {blob.offset: blob for blob in program.weights}
        self.functions: dict[tuple[int, int, frozenset[str]], CudaKernel] = {}
        self.taken = {f"{abi.name}_{each}" for each in _FUNCTIONS}

    def macs(self, step: Step) -> int:
        """Multiply-accumulates of a step."""
        task = self.program.kernels[step.kernel].task
        return task.macs if task else 0

    def launch(self, step: Step) -> Launch:
        """How a step is run."""
        loops = self.program.kernels[step.kernel]
        places = zip(step.places, loops.params, strict=True)
        alignment = gcd(PIECE, *(self.storage.offset(*each) for each in places))
        narrow = self.storage.narrow(step, loops)
        key = step.kernel, alignment, narrow
        if key not in self.functions:
            self.functions[key] = self._kernel(step, loops, alignment, narrow)
        kernel = self.functions[key]
        is_generic = kernel.comment == GENERIC
        samples = kernel.samples if loops.takes_samples else None
        arguments = tuple(self._argument(each, step, loops, kernel) for each in kernel.arguments)
        launch = step.kernel, step.layer, kernel, arguments, is_generic, samples, loops, narrow
        return Launch(*launch)

    def _kernel(
        self, step: Step, loops: Kernel, alignment: int, narrow: frozenset[str]
    ) -> CudaKernel:
        name, few = self._name(step.layer), loops.takes_samples
        arch, precision = int(self.target.cpu.removeprefix("sm_")), self.target.features
        wish = Wish(name, arch, precision, self.target.cores, few, alignment, narrow)
        if loops.task and alignment >= (2 if narrow else 4):
            for offer in self.offers:
                found = offer(loops.task, wish)
                if found is not None and (found.samples or not few) and _fits(found):
                    return found
        names = tuple(param.name for param in loops.params)
        blocks = -(-threads_of(loops) // THREADS)
        grid = (blocks, 1, 1)
        source, block = emit_kernel(loops, name, wish.types), (THREADS, 1, 1)
        samples = None
        if loops.takes_samples:
            samples = Samples(0, threads_per_sample(loops), THREADS, takes=True)
        return CudaKernel(name, source, names, grid, block, 0, samples=samples, comment=GENERIC)

    def _name(self, layer: str) -> str:
        plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in layer)
        name, number = f"{self.abi.name}_{plain}", 1
        while name in self.taken:
            number += 1
            name = f"{self.abi.name}_{plain}_{number}"
        self.taken.add(name)
        return name

    def _argument(
        self, name: str, step: Step, loops: Kernel, kernel: CudaKernel
    ) -> tuple[str, int]:
        if name in (WORKSPACE, COUNTERS):
            return name, 0
        position = next(i for i, param in enumerate(loops.params) if param.name == name)
        place, param = step.places[position], loops.params[position]
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
            return self.weights.place(blob.offset, size, partial(_bytes_of, blob))
        assert task is not None
        fill = partial(_packed, blob, task.param(param.name), packing)
        return self.weights.place((blob.offset, packing.key), packing.bytes, fill)


def _fits(kernel: CudaKernel) -> bool:
    """Whether a GPU takes a grid of that many blocks."""
    x, y, z = kernel.grid
    return x < 2**31 and y < 2**16 and z < 2**16


GENERIC = "a thread for each result"
"""What is said of kernels made from the loops."""


def _bytes_of(blob: Blob) -> NDArray[np.uint8]:
    memory = np.zeros(blob.contents.bytes, np.uint8)
    blob.contents.pack_into(memory)
    return memory


def _packed(blob: Blob, buffer: Buffer, packing: Packing) -> NDArray[np.uint8]:
    """The constant as the packing has it: the loops' own layout is undone first."""
    elements = _bytes_of(blob).view(buffer.dtype.numpy)
    packed = packing.pack(buffer.layout.unpack(elements, buffer.shape))
    return packed.reshape(-1).view(np.uint8)


def _renamed(abi: Abi) -> Abi:
    """No input or output is called as something else that the host code speaks of."""
    taken = {end.c_name.lower() for end in abi.ends}
    found = list[Argument]()
    for end in abi.ends:
        name = end.c_name
        if name.startswith(("cuda", f"{abi.name}_", "host_")):
            name = f"end_{name}"
        if name in _RESERVED or name.endswith("_bytes"):
            name += "_"
        while name != end.c_name and name.lower() in taken:
            name += "_"
        taken.add(name.lower())
        found.append(replace(end, c_name=name))
    count = len(abi.inputs)
    return replace(abi, inputs=tuple(found[:count]), outputs=tuple(found[count:]))


def _hash(abi: Abi, launches: Sequence[Launch]) -> int:
    """Weights fit where the same kernels read the same places."""
    text = [f"cuda {abi.hash:x}"]
    for each in launches:
        keys = [packing.key for packing in each.kernel.packings]
        text.append(f"{each.arguments} {keys} {each.kernel.source}")
    text.append(prims_header())
    return int.from_bytes(sha256("\n".join(text).encode()).digest()[:8], "little")
