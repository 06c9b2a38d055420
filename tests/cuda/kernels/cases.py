"""Layers and kernels for them: every template with each of its types and tiles."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from itertools import product
from math import gcd

from cnnc.backends.cuda.kernel import CudaKernel, Wish
from cnnc.backends.cuda.kernels import (
    dense,
    depthwise,
    igemm_ffma,
    igemm_mma,
    pool,
    softmax,
    stem,
    stem_mma,
)
from cnnc.backends.cuda.kernels.problem import product_of
from cnnc.backends.cuda.kernels.tiles import Plan, Tile
from cnnc.loop.task import Task
from tests.cuda.kernels.chains import chains
from tests.cuda.kernels.harness import Case, Make, case

PRODUCTS = {
    # strides, dilation, batch, an activation with a function in it
    "dilated": (
        "x: f32[N, 20, 11, 13]",
        "conv(24, 3, stride = 2, dilation = 2, pad = 2) -> silu",
        3,
    ),
    "groups": ("x: f32[N, 24, 7, 7]", "conv(36, 3, groups = 3, pad = 1)", 1),
    # no extent is a multiple of anything
    "odd": ("x: f32[N, 7, 6, 5]", "conv(13, 5, pad = 2) -> hardswish", 1),
    "strided": ("x: f32[N, 33, 9, 8]", "conv(66, 1, stride = 2) -> relu6", 3),
    "transposed": (
        "x: f32[N, 16, 5, 6]",
        "conv_transpose(12, 3, stride = 2, pad = 1, output_pad = 1) -> leaky_relu",
        1,
    ),
    "uneven": (
        "x: f32[N, 8, 4, 3]",
        "conv_transpose(8, 4, stride = 3, dilation = 2, groups = 2)",
        3,
    ),
    "line": ("x: f32[N, 16, 33]", "conv(20, 5, stride = 2, pad = 2) -> tanh", 3),
    "dense": ("x: f32[N, 100]", "dense(37) -> relu", 3),
    "wide": ("x: f32[N, 64, 12, 12]", "conv(130, 3, pad = 1, bias = false) -> gelu", 1),
}
"""Input, layer, samples."""
DEPTHWISE = {
    "plain": ("x: f32[N, 32, 9, 10]", "conv(32, 3, groups = 32, pad = 1) -> relu6", 1),
    "strided": ("x: f32[N, 22, 9, 10]", "conv(22, 5, groups = 22, pad = 2, stride = 2) -> silu", 3),
    "dilated": ("x: f32[N, 13, 9, 10]", "conv(13, 3, groups = 13, pad = 2, dilation = 2)", 1),
    "line": ("x: f32[N, 16, 30]", "conv(16, 7, groups = 16, dilation = 3, pad = causal)", 3),
}
STEMS = {
    "even": ("x: f32[N, 3, 18, 21]", "conv(40, 3, pad = 1) -> relu", 3),
    "fours": ("x: f32[N, 4, 130]", "conv(18, 5, stride = 4, pad = 2) -> silu", 1),
    "large": ("x: f32[N, 3, 23, 40]", "conv(64, 7, stride = 2, pad = 3) -> relu", 1),
    "single": ("x: f32[N, 1, 17, 9]", "conv(6, 5, pad = 2) -> tanh", 3),
    "dilated": ("x: f32[N, 4, 9, 10]", "conv(35, 3, dilation = 2)", 1),
    "line": ("x: f32[N, 2, 130]", "conv(16, 7, stride = 3, pad = same)", 3),
}
POOLS = {
    "largest": (16, "pool(max, 3, stride = 2, pad = 1)", 3),
    "average": (7, "pool(avg, 3, stride = 2, pad = 1, ceil = true)", 1),
    "padded": (8, "pool(avg, 3, stride = 2, pad = 1, ceil = true, count_pad = true) -> relu", 1),
    "plane": (40, "pool(avg, global)", 3),
    "plane_max": (40, "pool(max, global) -> sigmoid", 1),
    "plane_shared": (10, "pool(avg, global)", 1),
}
"""Channels, layer, samples."""
SIDES = {"plane_shared": 47}
"""Extents of larger planes."""
DENSE = {
    "odd": ("x: f32[N, 130]", "dense(37) -> relu", 3),
    "vectors": ("x: f32[N, 256]", "dense(10, bias = false) -> gelu", 1),
}
PRECISIONS = tuple(igemm_mma.MODES)
KINDS = ("f32_exact", "bf16_memory", "f16_memory")
"""Of layers whose products are float32."""


def layer(end: str, what: str) -> str:
    """A network of one layer, as statements."""
    return f"input {end}\ny = x -> layer: {what}\noutput y"


def added(end: str, what: str) -> str:
    """A layer whose result is added to its own input."""
    return f"input {end}\nt = x -> layer: {what}\ny = add(t, x) -> relu\noutput y"


def tiles_of(precision: str, *, is_plain: bool = True) -> list[Tile]:
    """The tiles of tensor cores in a precision, those for plain windows last."""
    menu = igemm_mma.MODES[precision].menu
    found = [each.tile for each in menu if not each.is_plain]
    return found + [each.tile for each in menu if each.is_plain and is_plain]


def tile_text(tile: Tile) -> str:
    """A tile and its threads, in a name."""
    return f"{tile}_{tile.threads}"


def pooled(label: str, name: str, precision: str = "f32_exact") -> Case:
    """A pool between two convolutions, so that channels are last on both sides."""
    channels, what, batch = POOLS[name]
    side = SIDES.get(name, 9)
    text = f"""input x: f32[N, {channels}, {side}, {side - 1}]
y = x -> a: conv({channels}, 1) -> layer: {what} -> b: conv(4, 1)
output y"""
    return case(label, text, precision, pool.offer, batch)


def mma(tile: Tile, splits: int, task: Task, wish: Wish) -> CudaKernel | None:
    """A tensor-core kernel with this tile."""
    problem = product_of(task)
    return problem and igemm_mma.make_kernel(task, problem, wish, Plan(tile, splits, 0.0, ""))


def ffma(tile: Tile, splits: int, task: Task, wish: Wish) -> CudaKernel | None:
    """An exact kernel with this tile."""
    problem = product_of(task)
    return problem and igemm_ffma.make_kernel(task, problem, wish, Plan(tile, splits, 0.0, ""))


def in_registers(tile: tuple[int, int], task: Task, wish: Wish) -> CudaKernel | None:
    """A depthwise kernel with this tile."""
    problem = product_of(task)
    width = gcd(depthwise.WIDEST, problem.channels) if problem else 1
    return problem and depthwise.make_kernel(task, problem, wish, tile, width)


def first(columns: int, task: Task, wish: Wish) -> CudaKernel | None:
    """A kernel of planes with so many filters in a block."""
    problem = product_of(task, in_planes=True)
    return problem and stem.make_kernel(task, problem, wish, columns)


def _products() -> Iterator[Case]:
    # Each layer in each precision; tiles take turns, and so do numbers of parts.
    turns = Counter[str]()
    for row, (name, (end, what, batch)) in enumerate(PRODUCTS.items()):
        for precision in PRECISIONS:
            if precision.endswith("memory") and name in ("odd", "strided"):
                continue  # two bytes are less than an asynchronous copy moves
            turn = turns[precision]
            turns[precision] += 1
            tiles = tiles_of(precision, is_plain=False)
            tile, splits = tiles[turn % len(tiles)], 1 + (turn + turn // len(tiles)) % 3
            make = partial(mma, tile, splits)
            label = f"mma_{name}_{precision}_{tile_text(tile)}_{splits}"
            yield case(label, layer(end, what), precision, make, batch)
        tile, splits = igemm_ffma.MENU[row % 3].tile, 1 + row // 3 % 3
        make = partial(ffma, tile, splits)
        label = f"ffma_{name}_{tile}_{splits}"
        yield case(label, layer(end, what), "f32_exact", make, batch)
        if name in ("odd", "strided", "transposed"):
            kind = KINDS[1 + row % 2]
            yield case(f"ffma_{name}_{kind}", layer(end, what), kind, make, batch)
    for alignment in (2, 4, 8):
        yield from _misaligned(alignment)
    text = added("x: f32[N, 40, 5, 5]", "conv(40, 1)")
    for precision in ("f32", *KINDS[1:]):
        yield case(f"mma_residual_{precision}", text, precision, igemm_mma.offer, 3)
    for precision in KINDS:
        yield case(f"ffma_residual_{precision}", text, precision, igemm_ffma.offer, 3)


def _plain() -> Iterator[Case]:
    # Tiles that only take windows of one position.
    wide = "x: f32[N, 128, 9, 8]"
    texts = {
        "dense": layer("x: f32[N, 512]", "dense(130) -> gelu"),
        "conv": layer(wide, "conv(128, 1, stride = 2) -> silu"),
        "added": added(wide, "conv(128, 1)"),
    }
    for precision, (name, text) in product(PRECISIONS, texts.items()):
        for tile in tiles_of(precision)[len(tiles_of(precision, is_plain=False)) :]:
            label = f"mma_plain{name}_{precision}_{tile_text(tile)}_1"
            yield case(label, text, precision, partial(mma, tile, 1), 3)


def _misaligned(alignment: int) -> Iterator[Case]:
    # What lies within another tensor may begin at any multiple of an element.
    for name, precisions, offer, text in (
        (
            "mma",
            ("f32", "bf16_memory"),
            igemm_mma.offer,
            added("x: f32[N, 40, 5, 5]", "conv(40, 1)"),
        ),
        ("ffma", KINDS[:2], igemm_ffma.offer, added("x: f32[N, 40, 5, 5]", "conv(40, 1)")),
        ("depthwise", KINDS[:2], depthwise.offer, layer(*DEPTHWISE["plain"][:2])),
        ("dense", KINDS[:2], dense.offer, layer(*DENSE["vectors"][:2])),
    ):
        for precision in precisions[alignment == 2 :]:
            if name == "mma" and alignment == 2:
                continue  # an asynchronous copy moves 4 bytes at least
            wished = partial(_wish, offer, alignment)
            made = case(f"{name}_at{alignment}_{precision}", text, precision, wished, 1)
            yield replace(made, shift=alignment)


def _wish(offer: Make, alignment: int, task: Task, wish: Wish) -> CudaKernel | None:
    return offer(task, replace(wish, alignment=alignment))


def stored(label: str, end: str, what: str, number: int, batch: int) -> Case:
    """A first convolution: only its result has 16 bits."""
    precision, narrow = ("bf16", "f16")[number % 2], frozenset("y")

    def make(task: Task, wish: Wish) -> CudaKernel | None:
        return stem.offer(task, replace(wish, narrow=narrow))

    return replace(case(label, layer(end, what), precision, make, batch), narrow=narrow)


def _others() -> Iterator[Case]:
    for number, (name, (end, what, batch)) in enumerate(DEPTHWISE.items()):
        tile = depthwise.TILES[number % 3]
        make = partial(in_registers, tile)
        for kind in KINDS:
            label = f"depthwise_{name}_{kind}"
            yield case(label, layer(end, what), kind, depthwise.offer, batch)
            label += f"_{tile[0]}x{tile[1]}"
            yield case(label, layer(end, what), kind, make, batch)
    text = added("x: f32[N, 16, 9, 8]", "conv(16, 3, groups = 16, pad = 1)")
    for kind in KINDS:
        yield case(f"depthwise_residual_{kind}", text, kind, depthwise.offer, 3)
    for name, kind in product(POOLS, KINDS):
        yield pooled(f"pool_{name}_{kind}", name, kind)
    for name, (end, what, batch) in DENSE.items():
        for precision in ("f32", "bf16", "f16", *KINDS[1:]):
            text = layer(end, what)
            yield case(f"dense_{name}_{precision}", text, precision, dense.offer, batch)
    for extent, batch in ((1000, 1), (10, 3)):
        text = f"input x: f32[N, {extent}]\nt = x -> layer: softmax\ny = mul(t, x)\noutput y"
        for kind in KINDS:
            yield case(f"softmax_{extent}_{kind}", text, kind, softmax.offer, batch)


def _stems() -> Iterator[Case]:
    for number, (name, (end, what, batch)) in enumerate(STEMS.items()):
        yield case(f"stem_{name}", layer(end, what), "f32_exact", stem.offer, batch)
        yield stored(f"stem_{name}_{KINDS[1 + number % 2]}", end, what, number, batch)
    for name, precision in product(("even", "fours", "large", "dilated"), PRECISIONS[1:]):
        end, what, batch = STEMS[name]
        text = layer(end, what.replace("dilation = 2", "stride = 3"))
        yield case(f"mma_stem_{name}_{precision}", text, precision, stem_mma.offer, batch)
    text = (
        "input x: f32[N, 3, 20, 22]\ninput t: f32[N, 24, 10, 11]\n"
        "z = x -> layer: conv(24, 3, stride = 2, pad = 1)\ny = add(z, t) -> relu\noutput y"
    )
    for precision in ("tf32", "f16_memory"):
        yield case(f"mma_stem_added_{precision}", text, precision, stem_mma.offer, 3)
    for columns in (8, 16, 32, 64):
        end, what, _ = STEMS["dilated"]
        yield case(f"stem_{columns}", layer(end, what), "f32_exact", partial(first, columns), 3)


@cache
def all_cases() -> tuple[Case, ...]:
    """All of them."""
    return (*_products(), *_plain(), *_others(), *_stems(), *chains())
