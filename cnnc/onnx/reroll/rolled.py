"""A flat net → text of the language that has been checked to say the same."""

from collections.abc import Mapping, Sequence

from cnnc.base.record import record
from cnnc.base.source import SourceFile
from cnnc.frontend import load as frontend
from cnnc.onnx.flat import Array, FlatNet
from cnnc.onnx.reroll.agreement import match
from cnnc.onnx.reroll.blocks import reroll
from cnnc.onnx.reroll.clauses import lift_clauses
from cnnc.onnx.reroll.names import name_ends
from cnnc.onnx.reroll.parts import cut
from cnnc.onnx.reroll.renaming import renaming_rules
from cnnc.onnx.reroll.structure import structure
from cnnc.onnx.reroll.text import Weights, write_text
from cnnc.onnx.text import words_of


@record
class Rolled:
    """A program, and what its weights file holds by name.

    `origins` says for each parameter of the net which array of the flat net it is, `inputs` and
    `outputs` what the model's are called in the text.
    """

    name: str
    text: str
    arrays: Mapping[str, Array]
    origins: Mapping[str, str]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def roll(
    net: FlatNet, weights: str, *, keep_names: bool = False, dropped: Sequence[str] = ()
) -> Rolled:
    """The net as text; `weights` is the name of the file beside it that holds the arrays.

    Parameters are called by their paths in the text. With `keep_names` the file holds them under
    their names in the flat net, and the text has rules for those that are other ones, and for
    `dropped`, patterns of what a file may hold besides. InternalError if the text does not compute
    the same.
    """
    net = name_ends(net)
    taken = [*(each.name for each in net.inputs), *words_of(net)]
    inputs = {one.name: two.name for one, two in zip(net.given, net.inputs, strict=False)}
    outputs = {one.name: two for one, (two, _) in zip(net.wanted, net.outputs, strict=False)}
    inner, clauses = lift_clauses(net)
    program = reroll(cut(structure(inner), taken))
    text = write_text(inner, program, Weights(weights) if net.arrays else None, clauses)
    source = SourceFile(f"{net.name}.cnn", text)
    graph = frontend.load_text(source, None, frontend.Choices(with_weights=False)).graph
    origins = match(net, graph)
    if not keep_names:
        arrays = {path: net.arrays[key] for path, key in origins.items()}
        return Rolled(net.name, text, arrays, origins, inputs, outputs)
    names, rules = renaming_rules(origins)
    arrays = {names[path]: net.arrays[key] for path, key in origins.items()}
    all_rules = (*((pattern, None) for pattern in dropped), *rules)
    text = write_text(inner, program, Weights(weights, all_rules) if arrays else None, clauses)
    return Rolled(net.name, text, arrays, origins, inputs, outputs)
