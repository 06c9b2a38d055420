"""Single device kernels, compiled by g++ and run on the CPU, next to the reference."""

import ctypes
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import cnnc
from cnnc import driver
from cnnc.backends.cuda.kernel import COUNTERS, WORKSPACE, CudaKernel, Wish
from cnnc.backends.cuda.prims import HEADER, prims_header
from cnnc.backends.cuda.templates import render
from cnnc.base.half import HALVES, Half
from cnnc.loop.expr import Buffer
from cnnc.loop.task import Task
from cnnc.lowering.lowered import Layer
from tests.cuda.shim import FLAGS, SHIM

Array = NDArray[np.generic]
Make = Callable[[Task, Wish], CudaKernel | None]
FACTORS = {
    "f32": 2.0**-21,
    "f32_exact": 0.0,
    "tf32": 2.0**-11,
    "bf16": 2.0**-8,
    "f16": 2.0**-11,
    "bf16_memory": 2.0**-8,
    "f16_memory": 2.0**-11,
}
"""Largest relative errors of factors. In 3xTF32 a factor is two numbers, the second of which is off
by 2^-22, and the product of two rests, of 2^-22 at most, is left out. Sums are in float32."""

MEMORY = "_memory"
_HEAD = """#include <cuda_runtime.h>
#include "cnnc_math.h"
#include "{header}"
"""
_MEMORY = """extern "C" void *device_memory(size_t bytes)
{
    void *made = nullptr;
    return cudaMalloc(&made, bytes) == cudaSuccess ? made : nullptr;
}
extern "C" int device_free(void *memory)
{
    return cudaFree(memory);
}
extern "C" int device_write(void *to, const void *from, size_t bytes)
{
    return cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice);
}
extern "C" int device_read(void *to, const void *from, size_t bytes)
{
    return cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost);
}
extern "C" int device_fill(void *to, int byte, size_t bytes)
{
    return cudaMemset(to, byte, bytes);
}
#ifndef __CUDACC__
extern "C" unsigned long long bank_conflicts()
{
    return cnnc_shim::bank_conflicts;
}
#endif
"""
_LAUNCH = """extern "C" int run_{name}(void **arguments)
{{
    if ({shared})
        cudaFuncSetAttribute({name}, cudaFuncAttributeMaxDynamicSharedMemorySize, {shared});
    return cnnc::launch({name}, dim3{grid}, dim3{block}, {shared}, 0, false, arguments);
}}
"""


@dataclass(frozen=True)
class Case:
    """A layer, and a kernel for it; tensors begin `shift` bytes behind a multiple of 16."""

    layer: Layer
    kernel: CudaKernel
    precision: str
    shift: int = 0
    narrow: frozenset[str] = frozenset()

    @property
    def half(self) -> Half:
        """The type of what is narrow."""
        return HALVES[_features(self.precision)]

    def __str__(self) -> str:
        return self.kernel.name


def layer_of(text: str, batch: int = 1) -> tuple[Layer, Task]:
    """The layer called `layer` of a network of these statements, as a GPU has it, and its task."""
    whole = f"cnn 1\nnet test {{\n{text}\nweights he(seed = 1)\n}}\n"
    graph = cnnc.load_text(whole, batch=batch).graph
    target = driver.find_target("cuda")
    optimised = driver.optimise(graph, driver.pipeline(target))
    lowered = driver.lower_graph(optimised, target)
    layer = next(each for each in lowered.layers if each.kernel.origin.layer == "layer")
    program = lowered.program
    task = program.kernels[program.steps[layer.step].kernel].task
    assert task is not None
    return layer, task


def case(name: str, text: str, precision: str, make: Make, batch: int = 1) -> Case:
    """The case of a network's layer; the kernel has to be there.

    Where the precision ends in `_memory`, all but constants has 16 bits in memory.
    """
    layer, task = layer_of(text, batch)
    narrow = narrow_names(layer) if precision.endswith(MEMORY) else frozenset()
    kernel = make(task, Wish(name, 80, _features(precision), narrow=narrow))
    assert kernel is not None, name
    return Case(layer, kernel, precision, narrow=narrow)


def narrow_names(layer: Layer) -> frozenset[str]:
    """What has 16 bits between two layers."""
    named = zip(layer.kernel.params, layer.operands, strict=True)
    return frozenset(param.name for param, operand in named if operand.constant is None)


def _features(precision: str) -> str:
    return precision.removesuffix(MEMORY)


def source_of(kernels: Sequence[CudaKernel], *, launches: bool = True) -> str:
    """A file of several kernels; with functions that launch them, or for nvcc alone."""
    parts = [_HEAD.format(header=HEADER), *([_MEMORY] * launches)]
    for kernel in kernels:
        parts.append(kernel.source)
        if launches:
            places = {"grid": kernel.grid, "block": kernel.block, "shared": kernel.shared_bytes}
            parts.append(_LAUNCH.format(name=kernel.name, **places))
    return "\n".join(parts)


def write_headers(folder: Path) -> None:
    """What kernels include."""
    (folder / HEADER).write_text(prims_header())
    (folder / "cnnc_math.h").write_text(render("math.h", None))


def write_sources(folder: Path, kernels: Sequence[CudaKernel], *, launches: bool = True) -> Path:
    """The file with the headers beside it."""
    write_headers(folder)
    path = folder / "kernels.cu"
    path.write_text(source_of(kernels, launches=launches))
    return path


def compile_kernels(
    folder: Path, kernels: Sequence[CudaKernel], flags: Sequence[str] = ("-O1",)
) -> ctypes.CDLL:
    """A library of them, loaded."""
    path = write_sources(folder, kernels)
    return load(build(path, flags))


def build(path: Path, flags: Sequence[str] = ("-O1",)) -> Path:
    """A library of a source file."""
    library = path.with_suffix(".so")
    command = ["g++", *FLAGS, *flags, f"-I{SHIM}", "-w", "-xc++", str(path), "-o", str(library)]
    subprocess.run(command, check=True)
    return library


def load(path: Path) -> ctypes.CDLL:
    """The library in this process."""
    library = ctypes.CDLL(str(path))
    library.device_memory.restype = ctypes.c_void_p
    library.device_memory.argtypes = [ctypes.c_size_t]
    library.device_free.argtypes = [ctypes.c_void_p]
    library.device_fill.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    for copy in (library.device_write, library.device_read):
        copy.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    return library


def operands_of(layer: Layer, seed: int = 0) -> list[Array]:
    """Values for the operands of a layer: weights as they are, the others drawn."""
    random = np.random.default_rng(seed)
    return [
        random.normal(0, 1, param.shape).astype(param.dtype.numpy)
        if operand.constant is None or param.name == "bias"
        else operand.constant
        for param, operand in zip(layer.kernel.params[:-1], layer.operands, strict=False)
    ]


def _memory(case: Case, param: Buffer, value: Array) -> Array:
    """A parameter of the kernel as it lies in memory."""
    packing = next((each for each in case.kernel.packings if each.argument == param.name), None)
    if packing:
        packed = packing.pack(value)
        assert packed.nbytes == packing.bytes
        return packed
    packed = np.ascontiguousarray(param.layout.pack(value)).reshape(-1)
    return case.half.narrow(packed) if param.name in case.narrow else packed


def run(library: ctypes.CDLL, case: Case, values: Sequence[Array], order: str) -> Array:
    """The result of the kernel; memory that nobody wrote is NaN. Twice, as a network runs it."""
    os.environ["CNNC_SHIM_ORDER"] = order
    *params, out = case.layer.kernel.params
    kernel = case.kernel
    contents: dict[str, Array] = {COUNTERS: np.zeros(kernel.counters, np.uint32)}
    for param, value in zip(params, values, strict=True):
        contents[param.name] = _memory(case, param, value)
    kind = np.dtype(np.uint16) if out.name in case.narrow else out.dtype.numpy
    sizes = {out.name: out.size * kind.itemsize, WORKSPACE: kernel.workspace_bytes}
    memory: dict[str, int] = {}
    packed = {packing.argument for packing in kernel.packings}
    moved = {param.name for param in case.layer.kernel.params} - packed - {"bias"}
    for name in kernel.arguments:
        size = contents[name].nbytes if name in contents else sizes[name]
        memory[name] = library.device_memory(-(-size // 16) * 16 + 16 * (case.shift > 0))
        if name in moved:
            memory[name] += case.shift
        if name in contents:
            assert library.device_write(memory[name], contents[name].ctypes.data, size) == 0
    pointers = [ctypes.c_void_p(memory[name]) for name in kernel.arguments]
    table = (ctypes.c_void_p * len(pointers))(*(ctypes.addressof(each) for each in pointers))
    results = []
    for _ in range(2):
        for name in {out.name, WORKSPACE} & memory.keys():
            assert library.device_fill(memory[name], 0xFF, sizes[name]) == 0
        status = getattr(library, f"run_{kernel.name}")(table)
        assert status == 0, (kernel.name, status)
        results.append(np.empty(out.size, kind))
        place = results[-1].ctypes.data
        status = library.device_read(place, memory[out.name], results[-1].nbytes)
        assert status == 0, (kernel.name, status)
    for name in kernel.arguments:
        library.device_free(memory[name] - case.shift * (name in moved))
    assert results[0].tobytes() == results[1].tobytes(), (kernel.name, order)
    result = case.half.widen(results[0]) if out.name in case.narrow else results[0]
    return out.layout.unpack(result, out.shape)


def assert_right(
    case: Case, result: Array, values: Sequence[Array], unit: float = 2.0**-24
) -> None:
    """Within the operator's bound on errors, for factors as inexact as the precision has them.

    What has 16 bits in memory is rounded once more when it is stored.
    `unit` is what an addition is off by, relative to its result.
    """
    op, exact = case.layer.node.op, [np.asarray(value, np.float64) for value in values]
    expected = op.reference(*exact)
    names, off = [param.name for param in case.layer.kernel.params], FACTORS[case.precision]
    # Operators know of errors of x: those of the weights are carried by it.
    carried = dict.fromkeys(case.narrow, off) | {"x": 2 * off + off**2}
    errors = [
        np.abs(value) * carried.get(name, 0.0) for name, value in zip(names, exact, strict=False)
    ]
    bound = op.error(unit, expected, exact, errors) + 1e-30
    if "y" in case.narrow:
        bound += case.half.roundoff * (np.abs(expected) + bound) + case.half.smallest
    excess = np.abs(result.astype(np.float64) - expected) / bound
    assert np.max(excess) <= 1, (case.kernel.name, float(np.max(excess)))


def check(library: ctypes.CDLL, case: Case, orders: Sequence[str]) -> None:
    """Right, and the same bits in every order of threads and blocks."""
    values = operands_of(case.layer)
    results = [run(library, case, values, order) for order in orders]
    assert_right(case, results[0], values)
    for order, result in zip(orders, results, strict=True):
        assert result.tobytes() == results[0].tobytes(), (case.kernel.name, order)
