"""A Python module that calls the shared library through ctypes; it needs NumPy alone."""

from cnnc.backends.abi import Status
from cnnc.base.record import record
from cnnc.base.templates import fill
from cnnc.loop.kernel import ALIGNMENT
from cnnc.standalone.folder import File
from cnnc.standalone.toolchain import library_name
from cnnc.standalone.unit import Unit
from cnnc.standalone.views import EndView, end_view, summary
from cnnc.version import __version__


@record
class ModuleView:
    """What the template may see."""

    name: str
    title: str
    version: str
    summary: tuple[str, ...]
    example: str
    library: str
    hash: str
    alignment: int
    weights_bytes: int
    arena_bytes: int
    scratch_bytes: int
    macs: int
    most_samples: int
    has_weights: bool
    wrong_size: int
    wrong_processor: int
    ends: tuple[EndView, ...]
    inputs: tuple[EndView, ...]
    outputs: tuple[EndView, ...]
    argument_types: str


def python_module(unit: Unit) -> File:
    """`NAME.py`."""
    abi = unit.abi
    inputs, outputs = (
        tuple(end_view(abi, end) for end in ends) for ends in (abi.inputs, abi.outputs)
    )
    arguments = ", ".join(f"np.zeros{_call(end)}" for end in inputs)
    samples = ["size"] if abi.most_samples is not None else []
    view = ModuleView(
        name=abi.name,
        title="".join(part.capitalize() for part in abi.name.split("_")),
        version=__version__,
        summary=summary(unit),
        example=f"{', '.join(end.python for end in outputs)} = {abi.name}.run({arguments})".replace(
            " = ", ", = " if len(outputs) == 1 else " = ", 1
        ),
        library=library_name(abi.name, unit.targets[0]),
        hash=f"0x{abi.hash:016x}",
        alignment=ALIGNMENT,
        weights_bytes=abi.weights_bytes,
        arena_bytes=abi.arena_bytes,
        scratch_bytes=abi.scratch_bytes,
        macs=unit.model.macs,
        most_samples=abi.most_samples or 0,
        has_weights=unit.request.has_weights,
        wrong_size=Status.WRONG_SIZE.value,
        wrong_processor=Status.WRONG_PROCESSOR.value,
        ends=(*inputs, *outputs),
        inputs=inputs,
        outputs=outputs,
        argument_types=", ".join(["pointer"] * 2 + samples + ["pointer"] * len(abi.ends)),
    )
    return File(f"{abi.name}.py", fill("standalone/module.py", view).encode())


def _call(end: EndView) -> str:
    return f"({end.tuple}, np.{end.dtype})"
