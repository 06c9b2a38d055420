"""ONNX Runtime's CPU provider. Inputs and outputs are bound once."""

from time import perf_counter

import onnxruntime

from peers.task import Loaded, Task


def load(task: Task) -> Loaded:
    """See Loaded."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = task.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    start = perf_counter()
    session = onnxruntime.InferenceSession(task.model, options, ["CPUExecutionProvider"])
    seconds = {"load": perf_counter() - start}
    inputs, binding = task.inputs(), session.io_binding()
    for name, array in inputs.items():
        binding.bind_cpu_input(name, array)
    names = [output.name for output in session.get_outputs()]
    run = session.run_with_iobinding
    for name in names:
        binding.bind_output(name)
    run(binding)
    # From now on results are written where those of the first run lie.
    values = binding.get_outputs()
    for name, value in zip(names, values, strict=True):
        binding.bind_ortvalue_output(name, value)
    return Loaded(
        lambda: run(binding),
        lambda: {name: value.numpy() for name, value in zip(names, values, strict=True)},
        onnxruntime.__version__,
        seconds,
        keeps=inputs,
    )
