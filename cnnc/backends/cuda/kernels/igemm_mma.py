"""Convolutions, dense layers and transposed convolutions as matrix products on tensor cores.

Rows are pixels, columns filters; the sum runs over taps and channels, a slab of 128 bytes of x at a
time. Slabs are copied to shared memory asynchronously, several ahead, with zeros where a window
reaches beyond x, and swizzled so that `ldmatrix` meets no bank twice.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from math import gcd, prod

import numpy as np
from numpy.typing import NDArray

from cnnc.backends.cuda.kernel import Bytes, CudaKernel, Packing, Samples, Wish
from cnnc.backends.cuda.kernels.epilogue import Epilogue, Tail, make_epilogue, tail_of
from cnnc.backends.cuda.kernels.problem import (
    MOST_ELEMENTS,
    Product,
    as_bytes,
    ceil_div,
    fills_tiles,
    product_of,
    weights_of,
)
from cnnc.backends.cuda.kernels.text import (
    arguments_of,
    describe,
    inside_test,
    join_splits,
    launch_parameters,
    limit,
    picked,
    position_lines,
)
from cnnc.backends.cuda.kernels.tiles import Candidate, Costs, Plan, Tile, cheapest, gpu_of, plans
from cnnc.backends.cuda.templates import render
from cnnc.base.half import Half
from cnnc.base.record import record
from cnnc.loop.task import Task

SLAB_BYTES = 128
MOST_SUMS = 128
"""Of a thread: with so many, a slab is multiplied step by step."""
SWIZZLES = {128: "((row / 4 * 2 + row % 2) % 8)", 64: "(row / 4 % 4)"}
"""What moves pieces of 16 bytes of weights, by the bytes of a row: pairs of rows are read, four
apart."""


@record
class Mode:
    """How a precision multiplies: the instruction, products for each, the type of weights."""

    mma: str
    products: int
    x_type: str
    weight_type: str
    menu: tuple[Candidate, ...]

    @property
    def x_bytes(self) -> int:
        """Bytes of an element of x."""
        return 4 if self.x_type == "float" else 2

    @property
    def weight_bytes(self) -> int:
        """Bytes of a weight."""
        return 4 if self.weight_type == "float" else 2

    @property
    def is_three(self) -> bool:
        """Whether factors are split into two numbers each, of whose products three count."""
        return self.products == 3

    @property
    def is_rounded(self) -> bool:
        """Whether x is rounded in registers, as memory has it more exactly."""
        return self.mma == "tf32" and self.products == 1

    @property
    def is_paired(self) -> bool:
        """Whether two floats of memory become one register of 16-bit numbers."""
        return self.x_bytes > self.weight_bytes

    @property
    def steps(self) -> int:
        """Products of fragments in a slab."""
        return 2 if self.is_paired else 4


SMALL = (
    Candidate(Tile(64, 64, 32, 32, 4), 0.74, 0.20),
    Candidate(Tile(64, 32, 32, 16, 4), 0.58, 0.17),
    Candidate(Tile(32, 64, 16, 32, 4), 0.58, 0.17),
    Candidate(Tile(32, 32, 16, 16, 4), 0.50, 0.125),
)
LARGE = (
    Candidate(Tile(128, 64, 64, 32, 3), 0.84, 0.25),
    Candidate(Tile(64, 128, 32, 64, 3), 0.83, 0.25),
    *SMALL,
)
LARGEST = (
    Candidate(Tile(128, 128, 64, 32, 3), 0.51, 0.60),
    Candidate(Tile(128, 128, 64, 64, 3), 0.56, 0.25, is_plain=True),
    *LARGE,
)
"""Tiles, and the share of the instruction's rate they reach; up to 99 KiB, as small GPUs have."""
THREE = tuple(Candidate(each.tile, 0.63 * each.full, 1.3 * each.alone) for each in LARGE)
"""Three products for each keep tensor cores busy for longer, but fragments have to be split."""

MODES: Mapping[str, Mode] = {
    "f32": Mode("tf32", 3, "float", "float", THREE),
    "tf32": Mode("tf32", 1, "float", "float", LARGEST),
    "bf16": Mode("bf16", 1, "float", "cnnc::bf16", LARGEST),
    "f16": Mode("f16", 1, "float", "cnnc::f16", LARGEST),
    "bf16_memory": Mode("bf16", 1, "cnnc::bf16", "cnnc::bf16", LARGEST),
    "f16_memory": Mode("f16", 1, "cnnc::f16", "cnnc::f16", LARGEST),
}
"""By precision; the last two are for an x that has 16 bits in memory: inputs have 32."""


_VALUE = "sums_of_warp[v / (WN / 2)][v / 4 % (WN / 8)][v % 4]"
"""The sum number `v` of a thread."""


@record
class View:
    """What the template sees."""

    name: str
    comment: tuple[str, ...]
    parameters: str
    problem: Product
    tile: Tile
    splits: int
    epilogue: Epilogue
    position: tuple[str, ...]
    limit: str
    join: str
    mode: Mode
    is_crowded: bool
    channels: int
    filters: int
    across: int
    phases: int
    part: int
    tap_parts: int
    slabs: int
    copy_bytes: int
    weight_row: int
    weight_swizzle: str
    start_h: str
    start_w: str
    first_slab: str
    end_slab: str
    inside: str
    valid: str


def offer(task: Task, wish: Wish) -> CudaKernel | None:
    """A kernel for the task, with the tile and split of the static model."""
    problem, plan = product_of(task), plan_of(task, wish)
    return make_kernel(task, problem, wish, plan) if problem and plan else None


def plan_of(task: Task, wish: Wish) -> Plan | None:
    """The tile and split of the static model; None where the task is none for tensor cores."""
    return cheapest(plans_of(task, wish))


def plans_of(task: Task, wish: Wish) -> Sequence[Plan]:
    """All tiles and splits that there are for a task; none where it is none for tensor cores."""
    problem, mode = product_of(task), mode_of(wish)
    if problem is None or mode is None or copy_bytes(problem, mode, wish.alignment) is None:
        return ()
    if not fills_tiles(problem):
        return ()
    gpu = gpu_of(wish.arch, wish.multiprocessors)
    rate = gpu.tf32 / mode.products * (2 if mode.mma != "tf32" else 1)
    slab, y_bytes = SLAB_BYTES // mode.x_bytes, wish.bytes_of("y")
    costs = Costs(rate, slab, mode.x_bytes, mode.weight_bytes, y_bytes)
    # positions of phases take registers that the largest tile does not leave
    menu = mode.menu if problem.phases == (1, 1) or mode.is_three else LARGE
    return plans(problem, menu, costs, gpu)


def mode_of(wish: Wish) -> Mode | None:
    """How x and the weights are multiplied, as x lies."""
    return MODES.get(wish.precision + "_memory" * ("x" in wish.narrow))


def copy_bytes(problem: Product, mode: Mode, alignment: int = 16) -> int | None:
    """Bytes of x that can be copied at once; None where that is too few for a copy."""
    pitch = problem.pitch * mode.x_bytes
    group = problem.channels // problem.groups * mode.x_bytes if problem.groups > 1 else 16
    size = gcd(alignment, pitch, group)
    return size if size >= 4 else None


def make_kernel(task: Task, problem: Product, wish: Wish, plan: Plan) -> CudaKernel | None:
    """The kernel with this tile and split; None where the tail is none of float32."""
    mode, tail, tile, splits = mode_of(wish), tail_of(task), plan.tile, plan.splits
    view = _view(task, problem, mode, plan, tail, wish) if tail and mode else None
    if view is None or mode is None:
        return None
    blocks = ceil_div(problem.pixels, tile.rows) * view.across
    tiles = blocks * problem.layers
    stage = tile.rows * SLAB_BYTES + tile.columns * view.weight_row
    packed = problem.layers * view.filters * view.slabs * view.weight_row
    pack = partial(pack_weights, task, mode, wish.half, view.part)
    key = f"igemm_mma {wish.precision} {view.part} {task.op} {task.windows} {problem}"
    return CudaKernel(
        name=wish.name,
        source=render("igemm_mma.cu", view),
        arguments=arguments_of(task, splits),
        grid=(blocks, 1, problem.layers * splits),
        block=(tile.threads, 1, 1),
        shared_bytes=tile.stages * stage,
        workspace_bytes=4 * tiles * splits * tile.rows * tile.columns if splits > 1 else 0,
        counters=tiles if splits > 1 else 0,
        packings=(Packing("weight", packed, pack, key),),
        samples=Samples(
            0, prod(problem.grid), tile.rows, takes=wish.takes_samples, times=view.across
        ),
        comment=plan.reason,
        starts_early=plan.starts_early,
    )


def _view(
    task: Task, problem: Product, mode: Mode, plan: Plan, tail: Tail, wish: Wish
) -> View | None:
    """What the template sees; None where offsets would not fit in 32 bits."""
    channels, filters = problem.channels // problem.groups, problem.filters // problem.groups
    part = 16 // mode.x_bytes
    tap_parts = ceil_div(channels, part)
    slabs = ceil_div(prod(problem.kernel) * tap_parts, 8)
    step = ceil_div(slabs, plan.splits)
    weight_row = SLAB_BYTES * mode.weight_bytes // mode.x_bytes
    if (problem.layers * filters + plan.tile.columns) * slabs * weight_row > MOST_ELEMENTS:
        return None
    epilogue = make_epilogue(wish, tail, (problem.batch, *problem.y), filters, 4)
    types = {**wish.types, "weight": mode.weight_type}
    is_split = plan.splits > 1
    return View(
        name=wish.name,
        comment=(describe(problem, wish, mode.weight_bytes), plan.reason),
        parameters=launch_parameters(
            arguments_of(task, plan.splits), types, samples=wish.takes_samples
        ),
        problem=problem,
        tile=plan.tile,
        splits=plan.splits,
        epilogue=epilogue,
        position=position_lines(problem, epilogue),
        limit=limit("POSITIONS", problem.pixels, problem.batch, wish),
        join=join_splits(plan.splits, "WM * WN / 32", _VALUE) if is_split else "",
        mode=mode,
        is_crowded=mode.is_three or plan.tile.sums >= MOST_SUMS,
        channels=channels,
        filters=filters,
        across=ceil_div(filters, plan.tile.columns),
        phases=prod(problem.phases),
        part=part,
        tap_parts=tap_parts,
        slabs=slabs,
        copy_bytes=copy_bytes(problem, mode, wish.alignment) or 16,
        weight_row=weight_row,
        weight_swizzle=f"(piece ^ {SWIZZLES[weight_row]})",
        start_h=picked("phase_h", problem.starts[0]),
        start_w=picked("phase_w", problem.starts[1]),
        first_slab=f"blockIdx.z % {plan.splits} * {step}" if is_split else "0",
        end_slab=f"min(first_slab + {step}, SLABS)" if is_split else "SLABS",
        inside=inside_test(problem, has_rest=slabs * 8 > prod(problem.kernel) * tap_parts),
        valid="16" if channels % part == 0 else f"min(16, (CHANNELS - channel) * {mode.x_bytes})",
    )


def pack_weights(
    task: Task, mode: Mode, half: Half | None, part: int, weight: NDArray[np.generic]
) -> Bytes:
    """[layer, filter, slabs of taps and channels], in the type that is multiplied."""
    parts = weights_of(task, weight)
    layers, filters, *taps, channels = parts.shape
    padded = np.zeros((layers, filters, prod(taps), ceil_div(channels, part) * part), np.float32)
    padded[..., :channels] = parts.reshape(layers, filters, -1, channels)
    rows = padded.reshape(layers, filters, -1)
    slab = 8 * part
    made = np.zeros((layers, filters, ceil_div(rows.shape[-1], slab) * slab), np.float32)
    made[..., : rows.shape[-1]] = rows
    if mode.is_paired:
        # Lane t holds channels t, t + 4, t + 8 and t + 12 of 16 where it should hold neighbours.
        by_lane = made.reshape(layers, filters, -1, 2, 2, 4)
        made = np.ascontiguousarray(by_lane.swapaxes(-1, -2)).reshape(made.shape)
    if mode.products == 1 and mode.mma == "tf32":
        made = round_tf32(made)
    return as_bytes(made, half)


def round_tf32(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nearest numbers with a mantissa of 10 bits, halves away from zero."""
    bits = values.view(np.uint32)
    rounded = np.where(np.isfinite(values), bits + 0x1000, bits) & 0xFFFFE000
    return rounded.astype(np.uint32).view(np.float32)
