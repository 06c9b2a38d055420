"""Which tile a block computes and into how many parts sums are split: a static model of a GPU.

It counts waves of blocks, products, and bytes. Nothing is measured; figures are of data sheets and
published measurements, as far as they matter for the order of candidates.
"""

from collections.abc import Iterable, Mapping

from cnnc.backends.cuda.kernels.problem import Product, ceil_div
from cnnc.base.record import record

LAUNCH = 2.0e-6
"""Seconds until the first block has loaded something, until the last result is written."""
SLAB_LATENCY = 0.45e-6
"""Seconds from asking for a slab of K to computing with it, with nothing else under way."""
SPLIT_COST = 1.5e-6
"""Seconds for partial sums to be written, counted, and read by the last block."""


@record
class Gpu:
    """A GPU; rates are of one multiprocessor: multiply-adds per second in float32 and on tensor
    cores in TF32 (16 bits: twice that). Bytes per second are of all."""

    multiprocessors: int
    ffma: float
    tf32: float
    memory: float
    cache: float
    shared_bytes: int


def gpu_of(arch: int, multiprocessors: int) -> Gpu:
    """The GPU that estimates are for, with so many multiprocessors."""
    clock, tensor, shared = _KINDS[arch] if arch in _KINDS else _KINDS[80]
    ffma = clock * (64 if arch == 80 else 128)
    per = 1.5e12 / 108 if arch == 80 else 4.0e12 / 132 if arch in (90, 100, 103) else 8e9
    return Gpu(
        multiprocessors,
        ffma,
        clock * tensor,
        per * multiprocessors,
        3 * per * multiprocessors,
        shared,
    )


_KINDS: Mapping[int, tuple[float, int, int]] = {
    80: (1.41e9, 512, 163 * 1024),
    86: (1.7e9, 128, 99 * 1024),
    87: (1.3e9, 256, 163 * 1024),
    89: (2.5e9, 128, 99 * 1024),
    90: (1.75e9, 680, 227 * 1024),
    100: (1.85e9, 680, 227 * 1024),
    103: (1.85e9, 680, 227 * 1024),
    120: (2.4e9, 128, 99 * 1024),
    121: (2.4e9, 128, 99 * 1024),
}
"""Compute capability × 10: clock, multiply-adds of `mma.sync` in TF32 per clock, shared memory."""


@record
class Tile:
    """A block's tile of the result, that of a warp, and slabs of K on their way at once."""

    rows: int
    columns: int
    warp_rows: int
    warp_columns: int
    stages: int

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return 32 * (self.rows // self.warp_rows) * (self.columns // self.warp_columns)

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}"


@record
class Plan:
    """What was chosen, and why."""

    tile: Tile
    splits: int
    seconds: float
    reason: str


@record
class Costs:
    """Of a kernel: multiply-adds per second of a multiprocessor, elements of K in a slab, bytes of
    an element of x, of a weight and of a result."""

    rate: float
    slab: int
    x_bytes: int
    weight_bytes: int
    y_bytes: int = 4


SPLITS = (1, 2, 3, 4, 6, 8, 12, 16)
MOST_PARTS = 2**26
"""Bytes of the arena for partial sums; more would leave the cache."""


def choose_tile(
    problem: Product, menu: Iterable[tuple[Tile, float]], costs: Costs, gpu: Gpu
) -> Plan:
    """The cheapest tile of the menu, of (tile, share of the rate it reaches), with its split."""
    slabs = ceil_div(problem.depth, costs.slab)
    plans = [
        _estimate(problem, tile, share, splits, costs, gpu)
        for tile, share in menu
        for splits in SPLITS
        if splits == 1 or (slabs >= 4 * splits and _parts(problem, tile, splits) <= MOST_PARTS)
    ]
    return min(plans, key=lambda plan: plan.seconds)


def _parts(problem: Product, tile: Tile, splits: int) -> int:
    """Bytes of partial sums."""
    down = ceil_div(problem.pixels, tile.rows)
    across = ceil_div(problem.filters // problem.groups, tile.columns)
    return down * across * problem.layers * splits * tile.rows * tile.columns * 4


def _estimate(
    problem: Product, tile: Tile, share: float, splits: int, costs: Costs, gpu: Gpu
) -> Plan:
    filters = problem.filters // problem.groups
    down, across = ceil_div(problem.pixels, tile.rows), ceil_div(filters, tile.columns)
    blocks = down * across * problem.layers * splits
    slabs = ceil_div(ceil_div(problem.depth, costs.slab), splits)
    waves = ceil_div(blocks, gpu.multiprocessors)
    products = tile.rows * tile.columns * costs.slab * slabs
    # With one block on a multiprocessor alone, the next slabs arrive as fast as latency lets them.
    alone = max(products / (costs.rate * share), slabs * SLAB_LATENCY / (tile.stages - 1))
    compute = waves * products / (costs.rate * share) if waves > 1 else alone
    loaded = blocks * slabs * costs.slab
    loaded *= tile.rows * costs.x_bytes + tile.columns * costs.weight_bytes
    moved = problem.batch * problem.x[0] * problem.x[1] * problem.channels * costs.x_bytes
    moved += problem.depth * problem.filters * costs.weight_bytes
    moved += problem.batch * problem.y[0] * problem.y[1] * problem.filters * costs.y_bytes
    busy = min(1.0, blocks / gpu.multiprocessors)
    memory = max(moved / gpu.memory, loaded / gpu.cache) / max(busy, 0.05)
    seconds = LAUNCH + max(compute, memory)
    if splits > 1:
        partial = blocks * tile.rows * tile.columns * 8
        seconds += SPLIT_COST + partial / gpu.cache
    bound = "products" if compute >= memory else "bytes"
    split = f", sums in {splits} parts" if splits > 1 else ""
    number = f"{blocks} block{'s' * (blocks > 1)}"
    reason = (
        f"{tile} tiles{split}: {number} on {gpu.multiprocessors} multiprocessors, "
        f"{waves} wave{'s' * (waves > 1)}, bound by {bound}"
    )
    return Plan(tile, splits, seconds, reason)
