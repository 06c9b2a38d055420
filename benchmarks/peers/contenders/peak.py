"""Not a contender: what the cores can do at best, measured in the same way as `cnnc bench`."""

from cnnc import driver
from peers.task import Task


def measure(task: Task) -> dict[str, float]:
    """Billions of float32 operations a second on all threads, and the vectors' bits."""
    peak = driver.measure_peak(driver.find_target(task.target), task.threads)
    return {"gflops": peak.gflops, "vector_bits": peak.vector_bits}
