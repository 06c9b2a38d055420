"""cnnc itself: the network from its text, compiled without a cache."""

from time import perf_counter

import cnnc
from peers.task import Loaded, Task


def load(task: Task) -> Loaded:
    """See Loaded. Reading draws the weights, where the text gives no file with them."""
    start = perf_counter()
    model = cnnc.load(task.net, batch=task.batch)
    read = perf_counter()
    net = model.compile(target=task.target, threads=task.threads)
    made = perf_counter()
    inputs = task.inputs()
    out = net(inputs)
    seconds = {"read": read - start, "compile": made - read}
    return Loaded(lambda: net(inputs, out=out), lambda: out, cnnc.__version__, seconds)
