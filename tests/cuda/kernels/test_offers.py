"""Who takes which layer, with which tile, and why it says it does."""

import pytest

from cnnc.backends.cuda.kernel import CudaKernel, Wish
from cnnc.backends.cuda.kernels.registry import OFFERS
from cnnc.loop.task import Task
from tests.cuda.kernels.cases import layer
from tests.cuda.kernels.harness import layer_of

TAKEN = {
    # of layers that several could take, the one that reads least
    "conv(32, 3, groups = 32)": ("x: f32[N, 32, 9, 9]", "f32", "depthwise"),
    "conv(32, 3)": ("x: f32[N, 32, 9, 9]", "f32", "igemm_mma"),
    "conv(32, 5)": ("x: f32[N, 32, 9, 9]", "f32_exact", "igemm_ffma"),
    "conv(16, 3)": ("x: f32[N, 3, 9, 9]", "f32", "stem"),
    "dense(9)": ("x: f32[N, 32]", "f32", "dense"),
    "softmax": ("x: f32[N, 32]", "f32", "softmax"),
    # groups of fewer filters than a tile is worth are left to the loops
    "conv(32, 3, groups = 16)": ("x: f32[N, 32, 9, 9]", "f32", None),
    "pool(l2, 2)": ("x: f32[N, 32, 9, 9]", "f32", None),
    # two bytes are less than an asynchronous copy moves, but floats are read
    "conv(24, 3)": ("x: f32[N, 31, 9, 9]", "bf16", "igemm_mma"),
}
"""Layer: its input, the precision, the template that is filled in."""


def offered(task: Task, wish: Wish) -> tuple[str, CudaKernel] | None:
    """The first kernel that is offered, and its file."""
    for offer in OFFERS:
        if (kernel := offer(task, wish)) is not None:
            return offer.__module__.rpartition(".")[2], kernel
    return None


@pytest.mark.parametrize("what", TAKEN)
def test_a_layer_is_taken_by(what: str) -> None:
    end, precision, expected = TAKEN[what]
    _, task = layer_of(layer(end, what))
    found = offered(task, Wish("k", 90, precision))
    assert (found[0] if found else None) == expected


@pytest.mark.parametrize(
    ("size", "channels", "batch", "is_split", "tile"),
    [(7, 512, 1, True, "64x"), (14, 256, 1, True, ""), (56, 64, 64, False, "128x")],
)
def test_tiles_fill_the_gpu(
    size: int, channels: int, batch: int, is_split: bool, tile: str
) -> None:
    """Few pixels have their sums split, many get the largest tiles; the source says why."""
    text = layer(f"x: f32[N, {channels}, {size}, {size}]", f"conv({channels}, 3, pad = 1)")
    _, task = layer_of(text, batch)
    found = offered(task, Wish("k", 90, "tf32"))
    assert found
    _, kernel = found
    assert (kernel.workspace_bytes > 0) == is_split
    assert kernel.counters * 4 <= kernel.workspace_bytes
    assert kernel.comment.startswith(tile)
    assert f"// {kernel.comment}" in kernel.source
    blocks = kernel.grid[0] * kernel.grid[1] * kernel.grid[2]
    assert blocks >= 90


def test_a_smaller_gpu_gets_fewer_parts() -> None:
    _, task = layer_of(layer("x: f32[N, 512, 7, 7]", "conv(512, 3, pad = 1)"))
    large, small = (offered(task, Wish("k", 90, "f32", count)) for count in (132, 16))
    assert large
    assert small
    assert small[1].workspace_bytes < large[1].workspace_bytes


def test_shared_memory_fits_small_gpus() -> None:
    """99 KiB is what a block of sm_86, sm_89 and sm_120 has."""
    _, task = layer_of(layer("x: f32[N, 64, 56, 56]", "conv(256, 3, pad = 1)"), 64)
    for precision in ("f32", "tf32", "bf16", "f16"):
        found = offered(task, Wish("k", 86, precision))
        assert found
        assert found[1].shared_bytes <= 99 * 1024
