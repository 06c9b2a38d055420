"""Inputs and outputs as the templates of programs that call a network type them."""

import keyword
from collections.abc import Sequence

from cnnc import gpu
from cnnc.api import Model
from cnnc.backends.abi import Abi, Argument
from cnnc.base.dtype import DType
from cnnc.base.record import record
from cnnc.base.target import Target
from cnnc.standalone.unit import Unit
from cnnc.table import plural

_WORDS = """
Outputs ValueError Weights count each hasattr index len np outputs run samples status
"""
_PYTHON = frozenset(_WORDS.split())
"""Names that the module's function uses, or a tuple has."""


@record
class EndView:
    """One input or output, for C and for Python."""

    name: str
    variable: str
    python: str
    macro: str
    type: str
    format: str
    cast: str
    dtype: str
    dims: str
    tuple: str
    output_shape: str


def end_view(abi: Abi, end: Argument) -> EndView:
    """That of an end; where the number of samples is an argument, arrays have so many."""
    is_float = end.dtype.is_float
    inner = ", ".join(map(str, end.shape[1:]))
    return EndView(
        name=end.c_name,
        variable=variable(end),
        python=python_name(end),
        macro=end.c_name.upper(),
        type=end.c_type,
        format="%.6g" if is_float else "%lld",
        cast="(double)" if is_float else "(long long)",
        dtype="bool" if end.dtype is DType.BOOL else end.dtype.numpy.name,
        dims=" × ".join(map(str, end.shape)) or "one number",
        tuple=repr(end.shape),
        output_shape=repr(end.shape)
        if abi.most_samples is None
        else f"(samples, {inner})".replace(", )", ",)"),
    )


def variable(end: Argument) -> str:
    """What a program in C calls the end's array: no name of its own begins like that."""
    return f"{'out' if end.is_output else 'in'}_{end.c_name}"


def python_name(end: Argument) -> str:
    """What the module in Python calls it."""
    return end.c_name + "_" * (keyword.iskeyword(end.c_name) or end.c_name in _PYTHON)


def run_arguments(abi: Abi) -> str:
    """What a program in C hands to `NAME_run`."""
    samples = [f"{abi.macro}_BATCH"] if abi.most_samples is not None else []
    return ", ".join(["weights", "arena", *samples, *map(variable, abi.ends)])


def summary(unit: Unit) -> tuple[str, ...]:
    """What was compiled, from which text, for which machine, in a few lines."""
    provenance, request = unit.model.provenance, unit.request
    settings = ", ".join(f"{name} = {value}" for name, value in provenance.settings)
    lines = [f"network  {unit.model.name}" + f" of {provenance.source}" * bool(provenance.source)]
    lines += [f"settings {settings}"] if settings else []
    lines += [f"target   {_machine(each)}" for each in unit.targets]
    lines += [f"batch    {_batch(unit.model)}"]
    lines += [f"threads  layers are split for {request.threads}"] if request.threads > 1 else []
    lines += ["exact    no algorithm that rounds more than plain sums"] if request.exact else []
    return tuple(map(_harmless, lines))


def _machine(target: Target) -> str:
    """What it is called; a GPU with the precision that it multiplies in."""
    if target.is_gpu:
        return f"cuda:{target.cpu},{target.features} ({gpu.precision(target)})"
    return f"{target.triple}, {target.cpu}"


def _batch(model: Model) -> str:
    """How many samples a run has."""
    if model.fewest < model.batch:
        return f"{model.fewest}..{model.batch} samples a run"
    return plural(model.batch, "sample") + " a run"


def _harmless(text: str) -> str:
    """The text without what would end a comment of C, a docstring of Python or a line."""
    kept = (letter if letter.isprintable() and letter not in '\\"`' else "_" for letter in text)
    return "".join(kept).replace("*/", "*_").replace("/*", "_*")


def names(ends: Sequence[Argument]) -> tuple[str, ...]:
    """Their names in C."""
    return tuple(end.c_name for end in ends)
