"""A folder that builds as it is: Makefile, CMakeLists.txt, example, test, benchmark, README."""

from collections.abc import Iterator

from cnnc.backends.c.flags import machine_flags, optimisation_flag
from cnnc.base.record import record
from cnnc.base.templates import fill
from cnnc.standalone.folder import File
from cnnc.standalone.golden import golden
from cnnc.standalone.toolchain import emulator, is_bare, tool_prefix
from cnnc.standalone.unit import Unit
from cnnc.standalone.views import EndView, end_view, run_arguments, summary
from cnnc.standalone.weights_source import is_array
from cnnc.version import __version__

FILES = ("Makefile", "CMakeLists.txt", "README.md", "main.c", "test.c", "bench.c")


@record
class ProjectView:
    """What the template may see."""

    name: str
    macro: str
    version: str
    summary: tuple[str, ...]
    has_weights: bool
    is_included: bool
    arch_flags: str
    optimisation: str
    compiler: str
    archiver: str
    sizer: str
    link_flags: str
    runner: str
    is_bare: bool
    objects: str
    sources: str
    ends: tuple[EndView, ...]
    inputs: tuple[EndView, ...]
    outputs: tuple[EndView, ...]
    run_arguments: str
    file_arguments: str


def project(unit: Unit) -> Iterator[File]:
    """All of the project but the network's own source and weights."""
    abi, has_weights = unit.abi, unit.request.has_weights
    inputs, outputs = (
        tuple(end_view(abi, end) for end in ends) for ends in (abi.inputs, abi.outputs)
    )
    target = unit.targets[0]
    tools = tool_prefix(target)
    stems = [abi.name, *([f"{abi.name}_weights"] if has_weights else [])]
    view = ProjectView(
        name=abi.name,
        macro=abi.macro,
        version=__version__,
        summary=summary(unit),
        has_weights=has_weights,
        is_included=has_weights and not is_array(unit),
        arch_flags=" ".join(machine_flags(target)),
        optimisation=optimisation_flag(target),
        compiler=f"{tools}gcc" if tools else "cc",
        archiver=f"{tools}ar",
        sizer=f"{tools}size",
        link_flags="-static" if tools and not is_bare(target) else "",
        runner=emulator(target),
        is_bare=is_bare(target),
        objects=" ".join(f"{stem}.o" for stem in stems),
        sources=" ".join(f"{stem}.c" for stem in stems),
        ends=(*inputs, *outputs),
        inputs=inputs,
        outputs=outputs,
        run_arguments=run_arguments(abi),
        file_arguments=" ".join(f"{end.name}.bin" for end in inputs),
    )
    for name in FILES:
        if name == "bench.c" and is_bare(target):
            continue  # there is no clock
        yield File(name, fill(f"standalone/{name}", view).encode())
    yield golden(unit)
