"""cnnc's code in the process that compiled it: `python -m standalone.in_process TASK CORES DRIVER`.

The driver, a shared library, answers requests and times calls as it does for all others.
"""

import ctypes
import sys
from collections.abc import Mapping

from peers.task import Array, Task
from peers.worker import settle

import cnnc
from cnnc.backends.native.backend import NativeRunner, address_of, aligned_bytes
from cnnc.loop.kernel import align


class _Call(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_void_p) for name in ("net", "weights", "arena", "inputs", "outputs")
    ]


class _End(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("data", ctypes.c_void_p), ("bytes", ctypes.c_size_t)]


class _Form(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("run", "context", "inputs", "outputs")]


def main(task: Task, cores: str, driver: str) -> None:
    """Compile, then let the driver answer."""
    settle([int(core) for core in cores.split(",")])
    net = cnnc.load(task.net, batch=task.batch).compile(target=task.target, threads=task.threads)
    runner, inputs = net.runner, task.inputs()
    assert isinstance(runner, NativeRunner)
    outputs = net(inputs)
    image = runner.image
    arena = aligned_bytes(align(image.arena_bytes) + image.scratch_bytes)
    tables = [_addresses(inputs), _addresses(outputs)]
    call = _Call(
        *(runner.address, address_of(image.weights), address_of(arena)),
        *map(ctypes.addressof, tables),
    )
    library = ctypes.CDLL(driver)
    run = ctypes.cast(library.run_in_process, ctypes.c_void_p)
    ends = [_ends(inputs), _ends(outputs)]
    form = _Form(run, ctypes.addressof(call), *map(ctypes.addressof, ends))
    library.serve(ctypes.byref(form))


def _addresses(arrays: Mapping[str, Array]) -> ctypes.Array[ctypes.c_int64]:
    """A table of addresses; the number of samples may follow, which this network knows."""
    return (ctypes.c_int64 * (len(arrays) + 1))(*map(address_of, arrays.values()))


def _ends(arrays: Mapping[str, Array]) -> ctypes.Array[_End]:
    pairs = arrays.items()
    made = [_End(name.encode(), address_of(array), array.nbytes) for name, array in pairs]
    return (_End * (len(made) + 1))(*made)


if __name__ == "__main__":
    main(Task.loads(sys.argv[1]), *sys.argv[2:])
