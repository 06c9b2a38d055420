"""What it takes from the text of a network to its first result: time and memory, each in a process
of its own, without the kernel cache, with it, and from a compiled file.

    python benchmarks/compile_time.py [TEXT.cnn …] [--repeat 3]

`start` is what is there before cnnc: the interpreter and NumPy. `import` is `import cnnc`, `load`
reads the text, `compile` includes drawing or reading the weights and packing them, of which `pack`
is the part that nobody can avoid; `run` is the first result. For a compiled file `load` is
`load_compiled`. Seconds are the least of so many processes, on the wall clock and, in brackets, of
all cores together; `peak` is the most memory that the process ever held (VmHWM), `over` what of it
is neither weights nor arena.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NETS = [
    ROOT / "examples" / "zoo" / f"{name}.cnn" for name in ("lenet5", "mobilenet_v2", "resnet50")
]
STAGES = ("start", "import", "load", "compile", "pack", "run")

CHILD = """
import json, resource, sys, time
def now():
    return time.time(), time.process_time()
born = float(sys.argv[1])
marks = {"begin": (born, 0.0)}
import numpy as np
marks["start"] = now()
import cnnc
marks["import"] = now()
path, save = sys.argv[2], sys.argv[3]
if path.endswith(".cnnc"):
    net = cnnc.load_compiled(path)
    marks["load"] = marks["compile"] = now()
    weights, arena = net.weights_bytes, net.arena_bytes
else:
    model = cnnc.load(path)
    marks["load"] = now()
    net = model.compile()
    marks["compile"] = now()
    weights, arena = (getattr(net.lowered.program, f"{each}_bytes") for each in ("weights", "arena"))
ends = net.interface.inputs
net(**{end.name: np.zeros(end.type.shape, end.type.dtype.numpy) for end in ends})
marks["run"] = now()
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
peak = int(status["VmHWM"].split()[0]) * 1024
stages = ["begin", "start", "import", "load", "compile", "run"]
spent = {b: [marks[b][0] - marks[a][0], marks[b][1] - marks[a][1]] for a, b in zip(stages, stages[1:])}
spent["pack"] = [0.0, 0.0]
if not path.endswith(".cnnc"):
    memory = [np.zeros(blob.contents.bytes, np.uint8) for blob in net.lowered.program.weights]
    before = now()
    for blob, each in zip(net.lowered.program.weights, memory):
        blob.contents.pack_into(each)
    after = now()
    spent["pack"] = [after[0] - before[0], after[1] - before[1]]
if save:
    net.save(save)
print(json.dumps({"spent": spent, "peak": peak, "needed": weights + arena}))
"""
