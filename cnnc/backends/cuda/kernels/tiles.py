"""Which tile a block computes and into how many parts sums are split: a static model of a GPU.

It counts blocks, products, and bytes. Nothing is measured while compiling. What the model says of
latencies, and which shares of the peak a tile reaches, was fitted to about 1700 kernels of
ResNet-50 and MobileNetV2 that an H100 was given one by one, as `python benchmarks/cuda.py --tiles
found.json` does; other GPUs are thought to be alike but for rates and sizes, which are of data
sheets.
"""

from collections.abc import Iterable, Mapping, Sequence

from cnnc.backends.cuda.kernels.problem import Product, ceil_div
from cnnc.base.record import record

LAUNCH = 1.2e-6
"""Seconds that a kernel takes in which next to nothing is done, when another one follows it."""
BLOCK = 0.15e-6
"""Seconds of a block, beside those of its slabs."""
SLAB_LATENCY = 0.56e-6
"""Seconds from asking for a slab of K to computing with it."""
SPLIT_COST = 1.6e-6
"""Seconds for partial sums to be written, counted, and read by the last block."""
OVERLAP_GAIN = 0.55e-6
"""Seconds saved where a kernel starts while the one in front of it ends."""


@record
class Gpu:
    """A GPU; rates are of one multiprocessor: multiply-adds per second in float32 and on tensor
    cores in TF32 (16 bits: twice that), bytes per second that one alone can load. Bytes per second
    of memory and cache are of all. `shared` is how many bytes of shared memory a multiprocessor
    has."""

    multiprocessors: int
    ffma: float
    tf32: float
    alone: float
    memory: float
    cache: float
    shared: int


def gpu_of(arch: int, multiprocessors: int) -> Gpu:
    """The GPU that estimates are for, with so many multiprocessors."""
    kind = _KINDS[max(each for each in _KINDS if each <= max(arch, 80))]
    return Gpu(
        multiprocessors,
        kind.clock * kind.ffma,
        kind.clock * kind.tf32,
        kind.clock * LOADED,
        kind.memory * multiprocessors,
        kind.clock * LOADED * multiprocessors,
        kind.shared * 1024,
    )


REGISTERS = 2**16
"""Of a multiprocessor."""
LOADED = 29
"""Bytes that a multiprocessor loads in a clock, from the cache that all share."""


@record
class _Kind:
    """Clock; multiply-adds of a multiprocessor per clock, in float32 and by `mma.sync` in TF32; its
    share of the memory's bytes per second; KiB of shared memory."""

    clock: float
    ffma: int
    tf32: int
    memory: float
    shared: int


_KINDS: Mapping[int, _Kind] = {
    80: _Kind(1.41e9, 64, 512, 14e9, 164),
    86: _Kind(1.7e9, 128, 128, 8e9, 100),
    87: _Kind(1.3e9, 128, 256, 13e9, 164),
    89: _Kind(2.5e9, 128, 128, 8e9, 100),
    90: _Kind(1.95e9, 128, 573, 21e9, 228),
    100: _Kind(1.85e9, 128, 573, 30e9, 228),
    103: _Kind(1.85e9, 128, 573, 30e9, 228),
    110: _Kind(1.57e9, 128, 573, 13e9, 228),
    120: _Kind(2.4e9, 128, 128, 8e9, 100),
    121: _Kind(2.4e9, 128, 128, 6e9, 100),
}
"""By compute capability × 10."""


@record
class Tile:
    """A block's tile of the result, that of a warp, and slabs of K on their way at once.

    Without tensor cores, threads have tiles of their own in place of a warp's.
    """

    rows: int
    columns: int
    warp_rows: int
    warp_columns: int
    stages: int
    is_of_warps: bool = True

    @property
    def threads(self) -> int:
        """Threads of a block."""
        tiles = self.rows // self.warp_rows * (self.columns // self.warp_columns)
        return 32 * tiles if self.is_of_warps else tiles

    @property
    def sums(self) -> int:
        """Results of a thread."""
        return self.rows * self.columns // self.threads

    @property
    def registers(self) -> int:
        """About how many a thread takes."""
        return min(255, 2 * self.sums + 80) if self.is_of_warps else self.sums + 64

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}"


@record
class Candidate:
    """A tile, and the share of the peak that it reaches: `full` with as many blocks as find room on
    a multiprocessor, `alone` with one. `is_plain`: registers suffice for windows of one position
    within x, whose sums are not split."""

    tile: Tile
    full: float
    alone: float
    is_plain: bool = False

    def takes(self, problem: Product, splits: int) -> bool:
        """Whether registers suffice."""
        is_plain = problem.kernel == (1, 1) and not any(problem.is_padded) and splits == 1
        return is_plain or not self.is_plain


@record
class Plan:
    """What was chosen, and why.

    `crowding` is how many seconds longer it takes where blocks are dealt unevenly, two on some
    multiprocessors and none on others, as happens while another kernel still ends.
    """

    tile: Tile
    splits: int
    seconds: float
    reason: str
    crowding: float = 0.0

    @property
    def starts_early(self) -> bool:
        """Whether that costs less than an early start saves."""
        return self.crowding < OVERLAP_GAIN


@record
class Costs:
    """Of a kernel: multiply-adds per second of a multiprocessor, elements of K in a slab, bytes of
    an element of x, of a weight and of a result; seconds until a slab that was asked for is there.
    """

    rate: float
    slab: int
    x_bytes: int
    weight_bytes: int
    y_bytes: int = 4
    latency: float = SLAB_LATENCY


FEWEST_SLABS = 2
"""Of a part of a sum."""
SPLITS = (1, 2, 3, 4, 6, 8, 12, 16)
MOST_PARTS = 2**26
"""Bytes of the arena for partial sums; more would leave the cache."""


def plans(problem: Product, menu: Iterable[Candidate], costs: Costs, gpu: Gpu) -> Sequence[Plan]:
    """Every tile of the menu, with every split."""
    return [
        _estimate(problem, each, splits, costs, gpu)
        for each in menu
        for splits in SPLITS
        if each.takes(problem, splits) and _may_be_split(problem, each.tile, splits, costs)
    ]


def cheapest(plans: Sequence[Plan]) -> Plan | None:
    """The plan that should take least time; None of none."""
    return min(plans, key=lambda plan: plan.seconds, default=None)


def _may_be_split(problem: Product, tile: Tile, splits: int, costs: Costs) -> bool:
    if splits == 1:
        return True
    slabs = ceil_div(problem.depth, costs.slab)
    return slabs >= FEWEST_SLABS * splits and _parts(problem, tile, splits) <= MOST_PARTS


def _parts(problem: Product, tile: Tile, splits: int) -> int:
    """Bytes of partial sums."""
    return _blocks(problem, tile) * splits * tile.rows * tile.columns * 4


def _blocks(problem: Product, tile: Tile) -> int:
    """Tiles of the result."""
    filters = problem.filters // problem.groups
    down, across = ceil_div(problem.pixels, tile.rows), ceil_div(filters, tile.columns)
    return down * across * problem.layers


def _estimate(problem: Product, candidate: Candidate, splits: int, costs: Costs, gpu: Gpu) -> Plan:
    """What a tile and a split should take."""
    tile = candidate.tile
    blocks = _blocks(problem, tile) * splits
    each = ceil_div(blocks, gpu.multiprocessors)
    room = _room(tile, costs, gpu)
    waves = ceil_div(each, room)
    busy, alone = _block_seconds(problem, candidate, splits, costs, gpu)
    compute, memory = max(each * busy, waves * alone), _moved(problem, costs) / gpu.memory
    products = _products(problem, tile, splits, costs) / candidate.full
    crowding = max(0.0, min(2 * each, room) * products - compute)
    seconds = LAUNCH + max(compute, memory)
    if splits > 1:
        # all parts are written side by side, but one block reads those of its tile
        seconds += SPLIT_COST + splits * tile.rows * tile.columns * 4 / gpu.alone
    bound = "products" if compute >= memory else "bytes"
    split = f", sums in {splits} parts" if splits > 1 else ""
    number = f"{blocks} block{'s' * (blocks > 1)}"
    reason = (
        f"{tile} tiles{split}: {number} on {gpu.multiprocessors} multiprocessors, "
        f"{waves} wave{'s' * (waves > 1)}, bound by {bound}"
    )
    return Plan(tile, splits, seconds, reason, crowding)


def _room(tile: Tile, costs: Costs, gpu: Gpu) -> int:
    """Blocks that a multiprocessor holds at once."""
    shared = tile.stages * _slab_bytes(tile, costs) + 1024
    registers = tile.registers * tile.threads
    return max(1, min((gpu.shared - 1024) // shared, REGISTERS // registers))


def _slab_bytes(tile: Tile, costs: Costs) -> int:
    return costs.slab * (tile.rows * costs.x_bytes + tile.columns * costs.weight_bytes)


def _block_seconds(
    problem: Product, candidate: Candidate, splits: int, costs: Costs, gpu: Gpu
) -> tuple[float, float]:
    """How long a block keeps its multiprocessor busy, and how long it takes with nobody beside it:
    then slabs arrive as fast as latency lets them."""
    tile = candidate.tile
    slabs, products = _slabs(problem, splits, costs), _products(problem, tile, splits, costs)
    stored = tile.rows * tile.columns * costs.y_bytes * gpu.multiprocessors / gpu.memory
    if splits > 1:
        stored += 2 * tile.rows * tile.columns * 4 / gpu.alone
    busy = max(products / candidate.full, slabs * _slab_bytes(tile, costs) / gpu.alone) + stored
    waited = slabs * costs.latency / (tile.stages - 1)
    return busy, BLOCK + max(products / candidate.alone, waited)


def _slabs(problem: Product, splits: int, costs: Costs) -> int:
    return ceil_div(ceil_div(problem.depth, costs.slab), splits)


def _products(problem: Product, tile: Tile, splits: int, costs: Costs) -> float:
    """Seconds for the products of a block at the peak."""
    each = tile.rows * tile.columns * costs.slab / costs.rate
    return _slabs(problem, splits, costs) * each


def _moved(problem: Product, costs: Costs) -> int:
    """Bytes of x, of the weights and of the result."""
    x = problem.batch * problem.x[0] * problem.x[1] * problem.channels * costs.x_bytes
    weights = problem.depth * problem.filters * costs.weight_bytes
    y = problem.batch * problem.y[0] * problem.y[1] * problem.filters * costs.y_bytes
    return x + weights + y
