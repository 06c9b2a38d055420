"""Golden vectors: inputs of a network, and the outputs expected for them."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cnnc.base.record import record


@record
class CheckVectors:
    """Inputs and the outputs expected for them.

    All have the same leading extent, a number of samples that need not be the graph's batch;
    outputs that the file leaves out are not checked. A result may differ from what is expected by
    `atol + rtol * |expected|`.
    """

    inputs: Mapping[str, NDArray[np.generic]]
    outputs: Mapping[str, NDArray[np.generic]]
    atol: float
    rtol: float

    @property
    def samples(self) -> int:
        """How many there are."""
        return len(next(iter(self.inputs.values())))

    def first(self, samples: int) -> "CheckVectors":
        """Those of the first samples."""
        inputs = {name: array[:samples] for name, array in self.inputs.items()}
        outputs = {name: array[:samples] for name, array in self.outputs.items()}
        return replace(self, inputs=inputs, outputs=outputs)

    def measure(self, name: str, got: NDArray[np.generic]) -> tuple[float, float]:
        """Largest difference of an output, and the largest over its tolerance."""
        a, b = got.astype(np.float64), self.outputs[name].astype(np.float64)
        with np.errstate(all="ignore"):
            same = (a == b) | (np.isnan(a) & np.isnan(b))
            difference = np.where(same, 0.0, np.abs(a - b))
            ratio = np.where(same, 0.0, difference / (self.atol + self.rtol * np.abs(b)))
        ratio = np.where(np.isnan(ratio), np.inf, ratio)
        return float(np.nan_to_num(difference).max()), float(ratio.max())
