"""A folder that needs only nvcc: sources, weights, an example, and how to build them."""

from collections.abc import Mapping, Sequence

from cnnc.backends.cuda.plan import Plan
from cnnc.backends.cuda.prims import HEADER, prims_header
from cnnc.backends.cuda.source import NetView, header_text, net_view, source_text
from cnnc.backends.cuda.templates import render
from cnnc.base.record import record

MATH = "cnnc_math.h"
_PROJECT = ("main.cu", "test.cu", "Makefile", "CMakeLists.txt", "README.md")


def emit_sources(plan: Plan, version: str, summary: Sequence[str]) -> Mapping[str, bytes]:
    """The files that are compiled into a library, by name."""
    return _sources(net_view(plan, version, summary))


def emit_cuda(plan: Plan, version: str, summary: Sequence[str] = ()) -> Mapping[str, bytes]:
    """All files of the folder but golden.bin, by name. `summary` are lines on what was compiled."""
    view = net_view(plan, version, summary)
    project = {name: render(name, view).encode() for name in _PROJECT}
    weights = plan.weights_file().tobytes()
    return {**_sources(view), **project, f"{plan.abi.name}.weights": weights}


def emit_module(plan: Plan) -> Mapping[str, bytes]:
    """The sources of a library that also runs single layers; NAME_module.cu includes the rest."""
    view = net_view(plan, "", ())
    parts = (view.name, view.macro, view.most_samples, view.calls, view.alone)
    text = render("module.cu", ModuleView(*parts))
    return {**_sources(view), f"{view.name}_module.cu": text.encode()}


@record
class ModuleView:
    """What the template of the module for Python sees."""

    name: str
    macro: str
    most_samples: int
    calls: tuple[str, ...]
    alone: tuple[str, ...]


def _sources(view: NetView) -> dict[str, bytes]:
    return {
        f"{view.name}.cu": source_text(view).encode(),
        f"{view.name}.h": header_text(view).encode(),
        MATH: render("math.h", None).encode(),
        HEADER: prims_header().encode(),
    }
