"""Parameters of a graph → constants, from a file or drawn: none missing, none left over."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cnnc.base.dtype import DType
from cnnc.base.errors import Diagnostic, UserError, fail, nearest
from cnnc.base.source import Span
from cnnc.frontend.arrays import ArrayInfo, open_arrays
from cnnc.frontend.clauses import FileWeights, InitialWeights
from cnnc.frontend.files import confine
from cnnc.frontend.initial import initial_value
from cnnc.frontend.renames import read_rules, rename
from cnnc.frontend.widened import fits, widened
from cnnc.ir.graph import Constant, Graph, Node, Parameter, Recipe

SHOWN = 12
"""Diagnostics of one kind before the rest is only counted."""

T = TypeVar("T")
Weights = Mapping[str, NDArray[np.generic] | Recipe]


def parameters(graph: Graph) -> Mapping[str, Node]:
    """The graph's unbound parameters by path."""
    return {node.op.path: node for node in graph.nodes if isinstance(node.op, Parameter)}


def bind_arrays(graph: Graph, arrays: Mapping[str, NDArray[np.generic]], place: Span) -> Graph:
    """The graph with these values for its parameters; UserError with all that does not fit."""
    wanted = parameters(graph)
    infos = {
        name: ArrayInfo(each.shape, str(DType.of(each.dtype))) for name, each in arrays.items()
    }
    _check_fit(wanted, {name: name for name in arrays}, infos, place)
    return _bind(graph, arrays)


def bind_weights(
    graph: Graph, clause: FileWeights | InitialWeights | None, folder: Path | None, place: Span
) -> Graph:
    """The graph with a constant for each parameter; UserError with all that does not fit.

    `place` is the net's name, blamed where there is no clause.
    """
    wanted = parameters(graph)
    match clause:
        case FileWeights():
            values = _read_weights(wanted, clause, folder)
        case InitialWeights():
            values = _draw_weights(wanted, clause)
        case None if not wanted:
            return graph
        case None:
            raise fail(
                "E0408",
                f"net `{graph.name}` does not say where its weights come from",
                place,
                notes=(f"it has {len(wanted)} parameters, the first is `{next(iter(wanted))}`",),
                help='add `weights "file.safetensors"`, or `weights he(seed = 0)` to try it out',
            )
    return _bind(graph, values)


def _bind(graph: Graph, values: Weights) -> Graph:
    def bind(node: Node) -> Node:
        if isinstance(node.op, Parameter):
            value = widened(values[node.op.path], node.type.dtype)
            return replace(node, op=Constant(value))
        return node

    return graph.rebuild(bind)


def _draw_weights(wanted: Mapping[str, Node], clause: InitialWeights) -> Weights:
    return {
        path: initial_value(clause.method, clause.seed, path, node.op.initial, node.type)
        for path, node in wanted.items()
        if isinstance(node.op, Parameter)
    }


def _read_weights(wanted: Mapping[str, Node], clause: FileWeights, folder: Path | None) -> Weights:
    path = confine(clause.path.value, folder, clause.path.span)
    file = open_arrays(path, clause.path.span)
    rules, problems = read_rules(clause.renames)
    if problems:
        raise UserError(problems)
    in_file, problems = rename(rules, [*file.infos])
    _check_fit(wanted, in_file, file.infos, clause.path.span, problems)
    arrays = file.sources(in_file[name] for name in wanted)
    return {name: arrays[in_file[name]] for name in wanted}


def _check_fit(
    wanted: Mapping[str, Node],
    in_file: Mapping[str, str],
    infos: Mapping[str, ArrayInfo],
    place: Span,
    problems: Sequence[Diagnostic] = (),
) -> None:
    """UserError with the problems, and all that is missing, left over or of another type."""
    missing = [name for name in wanted if name not in in_file]
    unused = [name for name in in_file if name not in wanted]
    found = [
        *problems,
        *_first(missing, lambda name: _missing(wanted[name], name, unused, in_file, infos)),
        *_first(unused, lambda name: _unused(name, in_file[name], missing, infos, place)),
        *_first(_misfits(wanted, in_file, infos), lambda found: found),
    ]
    if found:
        raise UserError(found)


def _missing(
    node: Node,
    name: str,
    unused: Sequence[str],
    in_file: Mapping[str, str],
    infos: Mapping[str, ArrayInfo],
) -> Diagnostic:
    near = nearest(name, unused)
    if near is None:
        alike = [each for each in unused if infos[in_file[each]].shape == node.type.shape]
        near = alike[0] if len(alike) == 1 else None
    help = None
    if near is not None:
        help = (
            f"did you mean `{near}`, {infos[in_file[near]]}? "
            f'rename it: {{ "{in_file[near]}" => "{name}" }}'
        )
    message = f"the weights file lacks `{name}`"
    return Diagnostic("E0401", message, node.span, f"needs {node.type}", help=help)


def _unused(
    name: str,
    original: str,
    missing: Sequence[str],
    infos: Mapping[str, ArrayInfo],
    place: Span,
) -> Diagnostic:
    shown = f"`{original}`" if original == name else f"`{original}`, renamed `{name}`,"
    near = nearest(name, missing)
    drop = f'if it is not needed, drop it: {{ "{original}" => drop }}'
    return Diagnostic(
        "E0402",
        f"nothing uses {shown} of the weights file",
        place,
        f"holds {infos[original]}",
        help=f"did you mean it for `{near}`?" if near else drop,
    )


def _misfits(
    wanted: Mapping[str, Node], in_file: Mapping[str, str], infos: Mapping[str, ArrayInfo]
) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    for name, node in wanted.items():
        if name not in in_file:
            continue
        info = infos[in_file[name]]
        if info.shape != node.type.shape:
            turned = sorted(info.shape) == sorted(node.type.shape)
            help = "the extents are the same in another order: is it transposed?"
            message = f"`{name}` has shape {list(info.shape)} in the weights file"
            label = f"needs {list(node.type.shape)}"
            found.append(
                Diagnostic("E0403", message, node.span, label, help=help if turned else None)
            )
        elif not fits(info.dtype, node.type.dtype):
            message = f"`{name}` has element type {info.dtype} in the weights file"
            help = f"convert the file to {node.type.dtype}"
            label = f"needs {node.type.dtype}"
            found.append(Diagnostic("E0404", message, node.span, label, help=help))
    return found


def _first(items: Sequence[T], describe: Callable[[T], Diagnostic]) -> list[Diagnostic]:
    """The first few, described; the last of them says how many are left out."""
    shown = [describe(item) for item in items[:SHOWN]]
    if len(items) > SHOWN:
        note = f"and {len(items) - SHOWN} more like this"
        shown[-1] = replace(shown[-1], notes=(*shown[-1].notes, note))
    return shown
