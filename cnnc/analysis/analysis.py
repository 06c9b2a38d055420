"""The analysis of one network: everything there is to say, and how it is gathered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cnnc.analysis.dependence import Dependences
from cnnc.analysis.equivariance import AxisShift, Others, find_others, find_shifts
from cnnc.analysis.fields import Field, find_fields
from cnnc.analysis.inputs import directions, spatial_axes
from cnnc.analysis.interactions import LayerCounts, count_layers
from cnnc.analysis.network import Reach
from cnnc.analysis.pooling import Movement, find_movements, find_pools
from cnnc.analysis.probe import Probe, random_arrays
from cnnc.analysis.shift import Shifts
from cnnc.analysis.tables import format_analysis
from cnnc.base.errors import did_you_mean, fail
from cnnc.base.report import Json
from cnnc.ir.graph import Array, Graph, Node, Parameter
from cnnc.listing import graph_layers
from cnnc.options import check_seed

MOST_MACS = 300_000_000
"""Multiply-accumulates up to which measurements are made unless asked for or forbidden."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What to analyse.

    Without `layers`, those that read more than one element for a result, and the outputs.
    `position` counts the spatial axes of the layers whose receptive fields are asked for; without
    it their centre. `arrays` are inputs to measure on, otherwise smooth noise drawn by `seed`.
    `pixels` is how far invariance is measured. `measure` None measures nets that are not too large.
    """

    layers: Sequence[str] = ()
    position: Sequence[int] | None = None
    arrays: Mapping[str, Array] | None = None
    seed: int = 0
    pixels: int = 3
    measure: bool | None = None


@dataclass(frozen=True, eq=False)
class Analysis:
    """What convolution buys in one network; prints as tables.

    `counts` has every layer, `fields` and `shifts` those that were chosen. `others` and
    `movements` are measured, and empty where nothing was; `notes` say why.
    """

    name: str
    batch: int
    counts: tuple[LayerCounts, ...]
    chosen: tuple[str, ...]
    fields: tuple[Field, ...]
    shifts: tuple[AxisShift, ...]
    others: tuple[Others, ...]
    movements: tuple[Movement, ...]
    has_pools: bool
    measured_on: str | None
    notes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        return self.format()

    def format(self) -> str:
        """A table for each idea, each under a line that says what it shows."""
        return format_analysis(self)

    def to_json(self) -> dict[str, Json]:
        """Everything as plain data."""
        notes: list[Json] = [*self.notes]
        return {
            "net": self.name,
            "batch": self.batch,
            "measured_on": self.measured_on,
            "layers": [each.to_json() for each in self.counts],
            "receptive_fields": [each.to_json() for each in self.fields],
            "shifts": [each.to_json() for each in self.shifts],
            "rotation_and_scaling": [each.to_json() for each in self.others],
            "pooling": [each.to_json() for each in self.movements],
            "notes": notes,
        }


def analyze_graph(graph: Graph, wishes: Wishes = Wishes()) -> Analysis:
    """Analyse a network as built; UserError for layers and positions it does not have."""
    check_seed(wishes.seed)
    dependences = Dependences()
    counts = count_layers(graph, dependences)
    layers = _choose(graph, counts, wishes.layers)
    along = directions(graph)
    shifts = [Shifts(graph, dependences, direction) for direction in along]
    probe, measured_on, notes = _probe(graph, bool(along), wishes)
    fields = find_fields(graph, Reach(graph, dependences), layers, wishes.position)
    pools = find_pools(graph)
    pixels = min([wishes.pixels, *(direction.extent - 1 for direction in along)])
    return Analysis(
        graph.name,
        graph.batch,
        tuple(counts.values()),
        tuple(node.name for node in layers),
        fields,
        find_shifts(shifts, layers, probe),
        find_others(layers, probe) if probe else (),
        find_movements(probe, pixels, along) if probe and pools and pixels > 0 else (),
        bool(pools),
        measured_on,
        notes,
    )


def _choose(
    graph: Graph, counts: Mapping[Node, LayerCounts], names: Sequence[str]
) -> tuple[Node, ...]:
    """The layers of these names, or those that connect more than one element to a result."""
    if not names:
        return tuple(n for n in counts if counts[n].is_wide or n in graph.output_nodes)
    if isinstance(names, str):
        raise fail("E0803", f"layers are a list of names, not {names!r}", help=f"write [{names!r}]")
    known = {**{node.name: node for node in counts}, **graph.outputs}
    chosen = []
    for name in names:
        if name not in known or known[name].is_leaf:
            help = did_you_mean(name, known) or "`cnnc check` lists the layers"
            raise fail("E0803", f"{graph.name} has no layer `{name}`", help=help)
        chosen.append(known[name])
    return tuple(dict.fromkeys(chosen))


def _probe(
    graph: Graph, has_directions: bool, wishes: Wishes
) -> tuple[Probe | None, str | None, tuple[str, ...]]:
    """What to measure with, what it is called, and why if there is nothing."""
    if not has_directions:
        return None, None, ("no input has a spatial axis, so there is nothing to shift",)
    if wishes.measure is False:
        return None, None, ()
    if any(isinstance(node.op, Parameter) for node in graph.nodes):
        return None, None, ("nothing is measured without weights",)
    macs = graph_layers(graph).macs
    if wishes.measure is None and wishes.arrays is None and macs > MOST_MACS:
        why = f"{macs:,} MACs are many for the reference: --measure runs it all the same"
        return None, None, (f"nothing is measured: {why}",)
    axes = {node.name: spatial_axes(graph, node) for node in graph.inputs if node.type.rank > 2}
    if wishes.arrays is not None:
        return Probe(graph, wishes.arrays, axes), "the given inputs", ()
    arrays = random_arrays(graph, wishes.seed)
    return Probe(graph, arrays, axes), f"smooth noise, seed {wishes.seed}", ()
