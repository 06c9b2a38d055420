"""Runs the backend test suite of the onnx package; `python -m tests.onnx.suite` writes its counts.

Every case passes, or is refused with a reason. A refusal is a UserError; everything else is wrong.
"""

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

import cnnc.onnx_backend as backend
from cnnc.base.errors import UserError

Array = NDArray[np.generic]
KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "onnx.md"
BEGIN = "<!-- what follows is written by `python -m tests.onnx.suite` -->"
END = "<!-- end of what is written by `python -m tests.onnx.suite` -->"
MOST_REASONS = 40
STEPS = {"float16": 2.0**-9, "bfloat16": 2.0**-6}
"""Two units in the last place: what is expected was rounded at every step, what is found once."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case: nothing is said of one that passes."""

    name: str
    kind: str
    refused: str = ""
    wrong: str = ""


@lru_cache(maxsize=len(KINDS))
def cases(kind: str) -> tuple[Any, ...]:
    """The cases of one kind."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(load_model_tests(kind=kind))


@lru_cache(maxsize=2 * len(KINDS))
def outcomes(kind: str, by: str = "reference", step: int = 1) -> tuple[Outcome, ...]:
    """The outcomes of a kind's cases, or of every so many of them, on one of cnnc's backends."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(run(case, kind, by) for case in cases(kind)[::step])


def run(case: Any, kind: str, by: str) -> Outcome:
    """What becomes of a case."""
    model = case.model or onnx.load(str(Path(case.model_dir) / "model.onnx"))
    sets = case.data_sets or list(_stored(Path(case.model_dir)))
    try:
        made = backend.prepare(model, backend=by)
        for inputs, expected in sets:
            found = made.run([_array(each) for each in inputs])
            _compare(found, [_array(each) for each in expected], case.rtol, case.atol)
    except UserError as error:
        return Outcome(case.name, kind, refused=error.diagnostics[0].message)
    except Exception as error:  # whatever it is, it is what the test is about
        return Outcome(case.name, kind, wrong=f"{type(error).__name__}: {error}")
    return Outcome(case.name, kind)


def _array(value: Any) -> Any:
    """What a case holds as a message is an array, too."""
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _compare(found: Sequence[Array], expected: Sequence[Any], rtol: float, atol: float) -> None:
    for one, other in zip(found, map(_array, expected), strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        step = STEPS.get(one.dtype.name, 0.0)
        a, b = (each.astype(np.float32) if step else each for each in (one, other))
        np.testing.assert_allclose(a, b, rtol=max(rtol, step), atol=atol)


def _stored(folder: Path) -> Iterator[tuple[list[Array], list[Array]]]:
    for data in sorted(folder.glob("test_data_set_*")):
        yield _tensors(data, "input"), _tensors(data, "output")


def _tensors(folder: Path, prefix: str) -> list[Array]:
    count = len(list(folder.glob(f"{prefix}_*.pb")))
    found = []
    for number in range(count):
        tensor = onnx.TensorProto.FromString((folder / f"{prefix}_{number}.pb").read_bytes())
        found.append(numpy_helper.to_array(tensor))
    return found


def reason(outcome: Outcome) -> str:
    """Why a case is refused, without the names that are in it."""
    text = outcome.refused.removeprefix("cnnc cannot take ")
    what, _, why = text.partition(": ")
    if not why:
        return re.sub(r"`[^`]*`", "…", text)
    why = re.sub(r"\(.*\)|\[.*\]", "…", why)
    return f"{re.sub(r' ?`[^`]*`', '', what)}: {re.sub(r'`[^`]*`', '…', why)}"


def table(found: Iterable[Outcome]) -> str:
    """The counts as Markdown."""
    every = list(found)
    lines = ["| cases | all | pass | refused |", "|---|---|---|---|"]
    for kind in KINDS:
        own = [each for each in every if each.kind == kind]
        passed = sum(not each.refused for each in own)
        lines.append(f"| {kind} | {len(own)} | {passed} | {len(own) - passed} |")
    counts = Counter(reason(each) for each in every if each.refused)
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    lines += ["", "| refused | cases |", "|---|---|"]
    lines += [f"| {text.replace('|', '/')} | {count} |" for text, count in ordered[:MOST_REASONS]]
    rest = ordered[MOST_REASONS:]
    lines.append(f"| {len(rest)} other reasons | {sum(count for _, count in rest)} |")
    return "\n".join(lines)


def generated() -> str:
    """What the page should say between its marks."""
    found = [each for kind in KINDS for each in outcomes(kind)]
    return f"\nOf onnx {onnx.__version__}:\n\n{table(found)}\n\n"


def written() -> str:
    """What it says."""
    return PAGE.read_text(encoding="utf-8").partition(BEGIN + "\n")[2].partition(END)[0]


def main() -> None:
    """Write the counts."""
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.partition(BEGIN + "\n")[0], text.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{generated()}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
