"""What networks take of a Cortex-M4: code, constants, memory, stack, instructions."""

import json
import re
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path

from peers.agreement import compare
from peers.main import names_of, zoo
from peers.report import NONE, markdown
from peers.task import Array, Task
from peers.unsupported import UnsupportedError

import cnnc
from cnnc.base.errors import CnncError
from cnnc.ir.graph import Graph, Node
from standalone.ends import Call, glue
from standalone.forms import DRIVER, ROOT, call_of_header, cnnc_build, write_plain
from standalone.prepare import Workshop, prepare
from standalone.stack import deepest
from standalone.toolchain import run_tool, version_of

NETS = ("lenet5", "ds_cnn")
TARGET = "cortex-m4"
BOARD = Path(__file__).resolve().parent / "board"
CC = "arm-none-eabi-gcc"
MACHINE = ("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")
FLAGS = ("-Os", "-std=gnu99", *MACHINE, "-ffunction-sections", "-fdata-sections")
QEMU = ("qemu-system-arm", "-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "none")
TICK = 40
"""Instructions of a tick: one takes a nanosecond (`-icount shift=0`), the timer has 25 MHz."""


@dataclass(frozen=True, slots=True)
class Found:
    """Bytes of one form, and instructions of a run; None where it was not run.

    `code` is the network's own code and constants beyond its weights, `linked` that with what it
    takes of the C library. `ram` is what lies between layers, without inputs and outputs.
    """

    weights: int
    code: int
    linked: int
    ram: int
    stack: int
    instructions: int | None


@dataclass(frozen=True, slots=True)
class Compiled:
    """Objects of a form, how it is called, which functions a program needs, and known sizes."""

    objects: Sequence[str]
    call: Call
    functions: Sequence[str]
    weights: int
    ram: int


def cnnc_source(shop: Workshop, folder: Path) -> Compiled:
    """The C source that `cnnc build` writes."""
    name = cnnc_build(shop, folder, "c,h")
    sources = sorted(path.name for path in folder.glob("*.c"))
    compile_arm(sources, folder)
    text = (folder / f"{name}.h").read_text(encoding="utf-8")
    weights, arena = (_constant(text, f"NET_{what}_BYTES") for what in ("WEIGHTS", "ARENA"))
    objects = [path.replace(".c", ".o") for path in sources]
    call = call_of_header(shop, folder / f"{name}.h")
    return Compiled(objects, call, [f"{name}_run", f"{name}_weights_builtin"], weights, arena)


def plain_loops(shop: Workshop, folder: Path) -> Compiled:
    """Plain loops."""
    plain = write_plain(shop.graph, folder)
    compile_arm(["plain.c", "weights.s"], folder)
    call = Call(f"{plain.prototype};", "plain_run")
    objects, functions = ["plain.o", "weights.o"], ["plain_run"]
    return Compiled(objects, call, functions, len(plain.weights), plain.buffers)


FORMS: Mapping[str, Callable[[Workshop, Path], Compiled]] = {
    "cnnc": cnnc_source,
    "plain": plain_loops,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; exit code 1 if any form of a network could not be measured."""
    parser = ArgumentParser(prog="microcontroller.py", description="Networks on a Cortex-M4.")
    parser.add_argument("--nets", type=names_of(zoo()), default=[*NETS], help="with commas")
    parser.add_argument("--json", type=Path, help="a file for everything that is found")
    options = parser.parse_args(arguments)
    found, feet, rows = dict[str, object](), list[str](), list[list[str]]()
    for net in options.nets:
        with tempfile.TemporaryDirectory(prefix="microcontroller-") as folder:
            shop = prepare(Task(str(zoo()[net]), 1, 1, TARGET, folder), [])
            bounds = {"tensors": tensors_bound(shop.graph), "steps": steps_bound(shop)}
            found[net] = forms = dict[str, object](bounds)
            for name, build in FORMS.items():
                print(f"{net}: {name}", file=sys.stderr, flush=True)
                place = Path(folder, name)
                place.mkdir()
                try:
                    figure = measure(shop, build(shop, place), place)
                except (CnncError, UnsupportedError) as error:
                    feet.append(f"- {net}, {name}: {str(error).strip()}")
                    continue
                forms[name] = asdict(figure)
                rows.append(row(net, name, figure, bounds))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(report(rows, feet))
    return int(bool(feet))


def measure(shop: Workshop, made: Compiled, folder: Path) -> Found:
    """Sizes of what was compiled, and a run of it on an emulated board."""
    objects = [folder / name for name in made.objects]
    needed = [f"-Wl,-e,{made.functions[0]}", *(f"-Wl,-u,{name}" for name in made.functions)]
    linking = [CC, *MACHINE, "-nostartfiles", "-Wl,--gc-sections", *needed, "-o", "alone.elf"]
    run_tool([*linking, *made.objects, "-lm"], folder)
    static = sum(_size(path, folder, (".bss", ".data")) for path in objects)
    return Found(
        weights=made.weights,
        code=sum(_size(path, folder, (".text", ".rodata")) for path in objects) - made.weights,
        linked=_size(folder / "alone.elf", folder, (".text", ".rodata", ".data")) - made.weights,
        ram=max(static, made.ram),
        stack=deepest(folder.glob("*.ci"), made.call.function),
        instructions=run_on_board(shop, made, folder),
    )


def compile_arm(sources: Sequence[str], folder: Path) -> None:
    """Objects beside the sources, with their call graphs."""
    run_tool([CC, *FLAGS, "-fcallgraph-info=su", "-c", *sources], folder)


def run_on_board(shop: Workshop, made: Compiled, folder: Path) -> int | None:
    """Instructions of a run, whose outputs must be right; None without the emulator."""
    text = glue(made.call, shop.inputs, shop.outputs)
    (folder / "glue.c").write_text(text, encoding="utf-8")
    linking = ["-nostartfiles", "--specs=rdimon.specs", "-T", str(BOARD / "board.ld")]
    linking += [f"-I{DRIVER}", "-o", "board.elf", "glue.c", str(BOARD / "board.c")]
    run_tool([CC, *FLAGS, *linking, *made.objects, "-lm"], folder)
    for end in shop.inputs:
        (folder / end.name).write_bytes((folder.parent / "inputs" / end.name).read_bytes())
    semihosting = ["-semihosting-config", "enable=on,target=native"]
    try:
        version_of(QEMU[0], folder)
    except UnsupportedError:
        return None
    said = run_tool([*QEMU, *semihosting, "-icount", "shift=0", "-kernel", "board.elf"], folder)
    status, ticks = map(int, said.split())
    if status or not ticks:
        raise UnsupportedError(f"on the board it returns {status} after {ticks} ticks")
    outputs = {end.name: end.read(folder) for end in shop.outputs}
    _, reason = compare(reference(shop), outputs)
    if reason:
        raise UnsupportedError(f"on the board {reason}")
    return ticks * TICK


def reference(shop: Workshop) -> Mapping[str, Array]:
    """The outputs."""
    return cnnc.load(shop.task.net, batch=1).reference(shop.task.inputs())


def tensors_bound(graph: Graph) -> int:
    """Bytes of tensors alive in the step that has most, in the graph's order.

    What works element by element, or only names a tensor anew, is done in place. Inputs and outputs
    of the network are the caller's.
    """
    steps = [node for node in graph.nodes if not node.is_leaf]
    place = {node: number for number, node in enumerate(steps)}
    home = dict[Node, Node]()
    for node in steps:
        first = node.inputs[0]
        fits = first in home and prod(first.type.shape) == prod(node.type.shape)
        alone = fits and graph.is_private(first) and _is_in_place(node)
        home[node] = home[first] if alone else node
    inside = [node for node in steps if home[node] not in _callers(graph, home)]
    last = dict[Node, int]()
    for node in inside:
        users = (place[user] for user in graph.users[node])
        last[home[node]] = max(last.get(home[node], 0), *users, place[node])
    sizes = {node: 4 * prod(node.type.shape) for node in last}
    return max(
        sum(size for node, size in sizes.items() if place[node] <= now <= last[node])
        for now in range(len(steps))
    )


def _is_in_place(node: Node) -> bool:
    elementwise = getattr(node.op, "is_elementwise", False)
    return bool(elementwise) or node.op.label.split("(")[0] in ("flatten", "reshape")


def _callers(graph: Graph, home: Mapping[Node, Node]) -> set[Node]:
    """Where the outputs lie."""
    return {home[node] for node in graph.outputs.values() if node in home}


def steps_bound(shop: Workshop) -> int | None:
    """What `cnnc check` says is alive at once in cnnc's own steps, padding included."""
    given = [shop.task.net, "--batch", "1", "--target", TARGET, "--json"]
    try:
        said = json.loads(run_tool([sys.executable, "-m", "cnnc", "check", *given], ROOT))
    except UnsupportedError:
        return None
    return int(said["compiled"]["arena_bound_bytes"])


def row(net: str, form: str, figure: Found, bounds: Mapping[str, int | None]) -> list[str]:
    """A line of the table."""
    run = figure.instructions
    cells = (figure.weights, figure.code, figure.linked, figure.ram)
    more = [NONE if bound is None else f"{bound:,}" for bound in bounds.values()]
    instructions = NONE if run is None else f"{run / 1e6:.1f} M"
    return [net, form, *(f"{cell:,}" for cell in cells), *more, f"{figure.stack:,}", instructions]


def report(rows: Sequence[Sequence[str]], feet: Sequence[str]) -> str:
    """The table, and what it means."""
    titles = ["net", "form", "weights", "code", "linked", "RAM", "tensors", "steps", "stack"]
    text = (
        f"Bytes, compiled by {CC} {' '.join(FLAGS[:1] + MACHINE)}. Code: text and constants beyond "
        "the weights; linked: with what is taken of the C library. RAM: what lies between layers, "
        "without inputs and outputs; tensors: the least that must be alive at once; steps: what is "
        "alive at once in cnnc's own steps, padding included. Instructions: of one run, counted by "
        "QEMU, outputs compared."
    )
    parts = [markdown([*titles, "instructions"], rows, left=2), text, "\n".join(feet)]
    return "\n\n".join(part for part in parts if part)


def _constant(header: str, name: str) -> int:
    found = re.search(rf"#define {name} (\d+)", header)
    if found is None:
        raise UnsupportedError(f"the header defines no {name}")
    return int(found[1])


def _size(path: Path, folder: Path, sections: tuple[str, ...]) -> int:
    """Bytes of sections whose names begin so."""
    lines = run_tool(["arm-none-eabi-size", "-A", str(path)], folder).splitlines()
    rows = (line.split() for line in lines if line.startswith(sections))
    return sum(int(size) for _, size, *_ in rows)
