"""What a contender is asked to run: a network, and the files that were written for it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Task:
    """One network for one number of samples and threads.

    `net` is the `.cnn` file, `target` what cnnc compiles for. In `folder` lie the model for the
    others and the inputs; contenders may write there too.
    """

    net: str
    batch: int
    threads: int
    target: str
    folder: str

    @property
    def model(self) -> Path:
        """The ONNX model."""
        return Path(self.folder, "model.onnx")

    @property
    def script(self) -> Path:
        """Where PyTorch's model for one sample is put, for those who convert it."""
        return Path(self.folder, "single.pt")

    @property
    def flat(self) -> Path:
        """Where LiteRT's model is put."""
        return Path(self.folder, "model.tflite")

    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the outputs by name, in declared order."""
        shapes = json.loads(Path(self.folder, "outputs.json").read_text(encoding="utf-8"))
        return {name: tuple(shape) for name, shape in shapes.items()}

    def inputs(self) -> dict[str, Array]:
        """The inputs by name, in declared order."""
        with np.load(Path(self.folder, "inputs.npz")) as stored:
            return {name: stored[name] for name in stored}

    def outputs(self, contender: str) -> Path:
        """Where a contender's outputs are put, for the comparison."""
        return Path(self.folder, f"outputs_{contender}.npz")

    def dumps(self) -> str:
        """The task as text."""
        return json.dumps(asdict(self))

    @staticmethod
    def loads(text: str) -> "Task":
        """The task of a text."""
        fields: Mapping[str, Any] = json.loads(text)
        return Task(**fields)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network ready in a contender's runtime.

    `run` computes once, on the same inputs each time; `results` then gives the outputs by name.
    `seconds` says how long the steps of loading took, `notes` what a reader should know. `keeps` is
    what must not be freed meanwhile.
    """

    run: Callable[[], object]
    results: Callable[[], Mapping[str, Array]]
    version: str
    seconds: Mapping[str, float]
    notes: tuple[str, ...] = ()
    keeps: object = None
