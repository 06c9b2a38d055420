"""Division of indices rounds down in machine code, as the loop language says."""

import numpy as np

from cnnc.backends.native.host import host_target
from cnnc.loop.kernel import Place, Port, Program, Region, Step
from cnnc.loop.parse import parse_kernel
from cnnc.lowering.lower import flatten_kernel
from tests.backends.compilers import NATIVE

TEXT = """
kernel divide {
  out y: f32[2, 20]
  for i in 20 parallel {
    y[0, i] = f32((i - 9) // 4)
    y[1, i] = f32((i - 9) % 4)
  }
}
"""


def test_division_and_remainder_of_negative_indices_round_down() -> None:
    kernel = flatten_kernel(parse_kernel(TEXT))
    step = Step(0, (Place(Region.OUTPUT),), barrier=False, layer="divide")
    port = Port("y", (2, 20), kernel.params[0].dtype)
    program = Program("p", (kernel,), (step,), (), (port,), (), 0, 0)
    y = np.empty((2, 20), np.float32)
    NATIVE.compile(program, host_target(), 1).run([], [y])
    i = np.arange(20) - 9
    np.testing.assert_array_equal(y, [i // 4, i % 4])
