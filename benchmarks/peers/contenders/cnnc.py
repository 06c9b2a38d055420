"""cnnc itself: the network from its text, compiled without a cache, its arrays bound once."""

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
    call = net.bind(inputs)
    seconds = {"read": read - start, "compile": made - read}
    return Loaded(call, lambda: call.outputs, cnnc.__version__, seconds)
