"""From the text of a network to its first result: time and memory, each in a process of its own.

    python benchmarks/compile_time.py [--repeat 3] [TEXT.cnn …]

Each network is compiled without the kernel cache, compiled with all its code there, and read from a
compiled file. `start` is the interpreter and NumPy, before cnnc; `import` is `import cnnc`; `load`
reads the text; `compile` makes code and packs weights; `run` is the first result. For a compiled
file, `load` is `load_compiled`. `pack` is how much of `compile` drawing or reading the weights,
folding them and packing them takes: what no cache can save. `own` is all but `start` and `pack`.

Each figure is the least of so many processes: seconds on the wall clock and, behind the bar, of the
processor, all threads together. `peak` is the most memory that was resident (VmHWM), in MiB, `over`
what of it is neither weights nor arena. Modules are byte-compiled before.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from zoo import ZOO, zoo_file

NETS = [ZOO / f"{name}.cnn" for name in ("lenet5", "mobilenet_v2", "resnet50")]
STAGES = ("start", "import", "load", "compile", "run")
COLUMNS = (*STAGES, "pack", "own", "total")

Times = dict[str, tuple[float, float]]


def main() -> None:
    """Measure the networks that the command line names."""
    if sys.argv[1:2] == ["--child"]:
        child(float(sys.argv[2]), sys.argv[3], sys.argv[4])
        return
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("nets", nargs="*", type=zoo_file, default=NETS, help="of the zoo, or files")
    parser.add_argument("--repeat", type=int, default=3, help="the best of so many runs; 3")
    given = parser.parse_args()
    head = "".join(f"{name:>13}" for name in COLUMNS)
    print(f"{'net':<14}{'from':<9}{head}{'peak':>8}{'over':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for net in given.nets:
            for source, best in _rows(net, given.repeat, Path(folder)):
                times = "".join(f"{best[name][0]:>7.2f}|{best[name][1]:<5.2f}" for name in COLUMNS)
                memory = "".join(f"{best[name] / 2**20:>8.0f}" for name in ("peak", "over"))
                print(f"{net.stem:<14}{source:<9}{times}{memory}", flush=True)


def _rows(net: Path, repeat: int, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The best figures without a cache, with one, and from a file."""
    cache, file = folder / "cache", folder / f"{net.stem}.cnnc"
    _run(str(net), "", "off")  # modules are byte-compiled, files are in the system's memory
    yield "text", _best([_run(str(net), "", "off") for _ in range(repeat)])
    _run(str(net), str(file), str(cache))
    yield "cache", _best([_run(str(net), "", str(cache)) for _ in range(repeat)])
    yield "file", _best([_run(str(file), "", "off") for _ in range(repeat)])


def _best(runs: list[dict[str, Any]]) -> dict[str, Any]:
    best: dict[str, Any] = {}
    for name in runs[0]:
        figures = [run[name] for run in runs]
        pairs = isinstance(figures[0], list)
        best[name] = tuple(map(min, zip(*figures, strict=True))) if pairs else min(figures)
    # of the least figures, as a run that was slow at one part only would give too little
    parts = zip(best["total"], best["start"], best["pack"], strict=True)
    best["own"] = tuple(total - start - pack for total, start, pack in parts)
    return best


def _run(path: str, save: str, cache: str) -> dict[str, Any]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment.setdefault("PYTHONPYCACHEPREFIX", str(Path(tempfile.gettempdir()) / "cnnc-pyc"))
    environment["CNNC_CACHE"] = cache
    command = [sys.executable, __file__, "--child", repr(time.time()), path, save]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def child(born: float, path: str, save: str) -> None:
    """Measure this process, which began at `born`; the figures are printed as JSON."""
    marks = [(born, 0.0)]

    def mark() -> None:
        marks.append((time.time(), time.process_time()))

    import numpy as np

    mark()
    import cnnc

    mark()
    if path.endswith(".cnnc"):
        net = cnnc.load_compiled(path)
        mark()
    else:
        model = cnnc.load(path)
        mark()
        net = model.compile()
    mark()
    ends = net.interface.inputs
    net({end.name: np.zeros(end.type.shape, end.type.dtype.numpy) for end in ends})
    mark()
    peak = _peak_bytes()
    # not before: from the cache, nothing is lowered until it is asked for
    program = None if isinstance(net, cnnc.Loaded) else net.lowered.program
    blobs, sizes = (program.weights, program) if program else ((), net)
    needed = sizes.weights_bytes + sizes.arena_bytes
    spent = {
        name: [after - before for before, after in zip(*pair, strict=True)]
        for name, pair in zip(STAGES, pairwise(marks), strict=True)
    }
    memory = [np.zeros(blob.contents.bytes, np.uint8) for blob in blobs]
    before = time.time(), time.process_time()
    for blob, place in zip(blobs, memory, strict=True):
        blob.contents.pack_into(place)
    after = time.time(), time.process_time()
    spent["pack"] = [end - start for start, end in zip(before, after, strict=True)]
    spent["total"] = [sum(each[clock] for each in map(spent.get, STAGES)) for clock in (0, 1)]
    if save:
        net.save(save)
    print(json.dumps({**spent, "peak": peak, "over": peak - needed}))


def _peak_bytes() -> int:
    """The most memory that this process held at once, as Linux counts it."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
