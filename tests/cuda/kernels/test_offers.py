"""Who takes which layer, with which tile, and why it says it does."""

from dataclasses import replace

import pytest

from cnnc.backends.cuda.kernel import CudaKernel, Wish
from cnnc.backends.cuda.kernels import igemm_ffma, igemm_mma
from cnnc.backends.cuda.kernels.problem import product_of
from cnnc.backends.cuda.kernels.registry import OFFERS
from cnnc.backends.cuda.kernels.tiles import Candidate, Costs, Tile, cheapest, gpu_of, plans
from cnnc.backends.cuda.targets import MULTIPROCESSORS
from cnnc.loop.task import Task
from tests.cuda.kernels.cases import all_cases, layer
from tests.cuda.kernels.harness import layer_of

TAKEN = {
    # of layers that several could take, the one that reads least
    "conv(32, 3, groups = 32)": ("x: f32[N, 32, 9, 9]", "f32", "depthwise"),
    "conv(64, 3)": ("x: f32[N, 64, 56, 56]", "f32", "igemm_mma"),
    "conv(32, 5)": ("x: f32[N, 32, 9, 9]", "f32_exact", "igemm_ffma"),
    "conv(16, 3)": ("x: f32[N, 3, 9, 9]", "f32", "stem"),
    "conv(16, 5)": ("x: f32[N, 3, 9, 9]", "bf16", "stem_mma"),
    "conv(16, 7)": ("x: f32[N, 1, 9, 9]", "bf16", "stem"),
    # with fewer filters in a block than there might be, as shared memory has it
    "conv(64, 9, pad = 4)": ("x: f32[N, 3, 32, 32]", "tf32", "stem_mma"),
    "conv(64, 11, stride = 4, pad = 2)": ("x: f32[N, 3, 67, 67]", "tf32", "stem_mma"),
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
    [(7, 512, 1, True, "32x"), (14, 256, 1, True, ""), (56, 64, 64, False, "128x")],
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


@pytest.mark.parametrize(("arch", "is_exact"), [(80, False), (86, True), (89, True), (90, False)])
def test_f32_is_computed_by_what_is_faster(arch: int, is_exact: bool) -> None:
    """Tensor cores of smaller GPUs make four products of TF32 in the time of one of float32."""
    _, task = layer_of(layer("x: f32[N, 64, 56, 56]", "conv(64, 3, pad = 1)"))
    found = offered(task, Wish("k", arch, "f32", MULTIPROCESSORS[arch]))
    assert found
    assert ("mma_tf32(" not in found[1].source) == is_exact
    # what was asked for less exactly stays so
    found = offered(task, Wish("k", arch, "tf32", MULTIPROCESSORS[arch]))
    assert found
    assert "mma_tf32(" in found[1].source


def test_every_gpu_has_a_model_of_its_own() -> None:
    kinds = [gpu_of(arch, 100) for arch in MULTIPROCESSORS]
    assert gpu_of(81, 100) == gpu_of(80, 100)
    assert all(kind.multiprocessors == 100 for kind in kinds)
    assert gpu_of(110, 100) != gpu_of(103, 100)


def test_parts_cost_what_one_block_reads() -> None:
    _, task = layer_of(layer("x: f32[N, 512, 7, 7]", "conv(512, 3, pad = 1)"))
    problem, gpu = product_of(task), gpu_of(90, 132)
    assert problem
    tile, costs = Candidate(Tile(64, 64, 32, 32, 4), 0.7, 0.2), Costs(gpu.tf32, 32, 4, 4)
    quick, slow = (
        cheapest(plans(problem, [tile], costs, replace(gpu, alone=rate))) for rate in (1e12, 1e9)
    )
    assert quick
    assert slow
    assert quick.splits > 1
    assert slow.splits < quick.splits


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


def test_tiles_have_the_threads_that_the_model_counts() -> None:
    for name, tiles in {"mma": igemm_mma.LARGEST, "ffma": igemm_ffma.MENU}.items():
        for each in tiles:
            made = [case.kernel for case in all_cases() if case.kernel.name.startswith(f"{name}_")]
            sizes = {
                kernel.threads
                for kernel in made
                if f"BM = {each.tile.rows}, BN = {each.tile.columns}," in kernel.source
            }
            assert each.tile.threads in sizes


def test_products_of_a_single_wave_do_not_start_early() -> None:
    """Where early blocks would crowd: three products for each keep tensor cores busy."""
    _, long = layer_of(layer("x: f32[N, 256, 14, 14]", "conv(256, 3, pad = 1)"))
    _, short = layer_of(layer("x: f32[N, 96, 14, 14]", "conv(64, 1)"))
    early = {
        (name, precision): bool(
            (found := offered(task, Wish("k", 90, precision))) and found[1].starts_early
        )
        for name, task in (("long", long), ("short", short))
        for precision in ("f32", "bf16")
    }
    assert early == {
        ("long", "f32"): False,
        ("long", "bf16"): True,
        ("short", "f32"): True,
        ("short", "bf16"): True,
    }
