"""The comparison as a whole: passes, layers, program, check files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from cnnc.api import Model
from cnnc.base.errors import fail
from cnnc.base.vectors import CheckVectors
from cnnc.binding import Binding, Given
from cnnc.compare.blame import PASSES, PROGRAM, Blame, Suspect, blame_layer
from cnnc.compare.layerwise import compare_layers
from cnnc.compare.measure import Errors
from cnnc.compare.report import CheckDiff, DiffReport, LayerDiff, OutputDiff
from cnnc.compare.whole import Expected, expect, find_guilty_pass, split_batches
from cnnc.compiled import Compiled
from cnnc.driver import optimise, pipeline
from cnnc.ir.evaluate import evaluate, samples_of
from cnnc.ir.graph import Array, Graph
from cnnc.listing import operator_text
from cnnc.memory import drawn
from cnnc.options import REFERENCE, Options, check_seed

Progress = Callable[[int, int], None]
"""Called with layers done and in all: each is run alone, and once more in the program."""


def diff(
    network: Compiled | Model,
    inputs: Given | None = None,
    *,
    seed: int = 0,
    progress: Progress = lambda done, total: None,
) -> DiffReport:
    """Hold a network against its NumPy reference, layer by layer and as a whole.

    A `Model` is compiled for this machine first, and its `check` files are compared too. Without
    `inputs`, those of the check files are taken, or one batch drawn from a normal distribution
    by `seed`. UserError where the inputs do not fit.
    """
    what: object = network
    if not isinstance(what, Model | Compiled):
        message = f"`diff` takes a Model or a Compiled, not {type(what).__name__}"
        raise fail("E0803", message, help="`cnnc.load` makes a Model of a text")
    if isinstance(network, Model):
        checks = network.checks()
        return compare(network.compile(), checks, inputs, seed=seed, progress=progress)
    return compare(network, (), inputs, seed=seed, progress=progress)


def compare(
    network: Compiled,
    checks: Sequence[CheckVectors],
    inputs: Given | None,
    *,
    seed: int,
    progress: Progress,
) -> DiffReport:
    """See `diff`; the check files are given as they were read."""
    check_seed(seed)
    if network.options.backend == REFERENCE:
        raise fail("E0801", "the reference cannot be compared with itself")
    first = checks[0] if checks and inputs is None else None
    if inputs is None:
        inputs = first.inputs if first else random_inputs(network.graph, seed)
    bound = Binding(network.interface).bind(inputs, {})
    if not bound.samples:
        raise fail("E0601", "there are no samples to compare")
    names = [node.name for node in network.graph.inputs]
    batches = split_batches(bound.arrays, network.batch)
    comparison = _Comparison(network, progress, len(batches))
    for number, batch in enumerate(batches):
        comparison.add(dict(zip(names, batch, strict=True)), seed + number)
    known = comparison.results(bound.samples) if first else None
    return comparison.report(bound.samples, [*_compare_checks(network, checks, known)])


def random_inputs(graph: Graph, seed: int) -> dict[str, Array]:
    """One batch of every input; see `drawn`."""
    random = np.random.default_rng(seed)
    return {node.name: drawn(random, node.type.shape, node.type.dtype) for node in graph.inputs}


@dataclass
class _Comparison:
    """What has been found over the batches so far."""

    network: Compiled
    progress: Progress
    batches: int
    done: int = 0
    errors: dict[int, list[Errors]] = field(default_factory=dict)
    spills: dict[int, str] = field(default_factory=dict)
    suspects: dict[int, Suspect] = field(default_factory=dict)
    outputs: dict[tuple[str, str], list[Errors]] = field(default_factory=dict)
    guilty: tuple[str, str] | None = None
    computed: dict[str, list[Array]] = field(default_factory=dict)

    def add(self, inputs: Mapping[str, Array], seed: int) -> None:
        """Compare one batch."""
        network = self.network
        rounding = network.target.rounding
        expected = expect(network.graph, inputs, seed, rounding)
        around = self._compare_passes(inputs, expected)
        lowered = network.lowered
        layers = len(lowered.layers) * lowered.program.repeats
        total = 2 * layers * self.batches
        unbounded = 0
        for found in chain.from_iterable(
            compare_layers(lowered, network.executable, together, rounding)
            for together in samples_of(lowered.graph, inputs)
        ):
            step = found.layer.step
            self.errors.setdefault(step, []).append(found.errors)
            unbounded += found.errors.unbounded
            if found.spill:
                self.spills.setdefault(step, found.spill)
            if found.suspect and step <= min(self.suspects, default=step):
                self.suspects = {step: self.suspects.get(step, found.suspect)}
            self.done += 1
            self.progress(self.done, total)
        self._compare_program(inputs, around, may_overflow=unbounded > 0)
        self.done += layers
        self.progress(self.done, total)

    def results(self, samples: int) -> dict[str, Array]:
        """What the program computed for so many samples."""
        return {name: np.concatenate(found)[:samples] for name, found in self.computed.items()}

    def _compare_passes(self, inputs: Mapping[str, Array], expected: Expected) -> Expected:
        """Compare the optimised graph with the source; what the program should come to."""
        network = self.network
        optimised = evaluate(network.lowered.graph, inputs)
        around = Expected(
            {name: value.astype(np.float64) for name, value in optimised.items()},
            expected.tolerances,
        )
        exact, choices = network.options.exact, network.choices
        passes = pipeline(network.target, exact=exact, choices=choices)
        if not all(np.isfinite(value).all() for value in inputs.values()):
            # Winograd's tiles spread what is not finite, so that other passes are compared alone
            passes = pipeline(network.target, exact=True)
            optimised = evaluate(optimise(network.graph, passes), inputs)
        for name in network.graph.outputs:
            found = expected.measure(name, optimised[name])
            self.outputs.setdefault(("passes", name), []).append(found)
            if not found.ok and self.guilty is None:
                guilty = find_guilty_pass(network.graph, passes, inputs, expected)
                self.guilty = guilty or ("", name)
        return around

    def _compare_program(
        self, inputs: Mapping[str, Array], around: Expected, *, may_overflow: bool
    ) -> None:
        """Compare the outputs; where a layer may overflow on its way, only those that did not."""
        for name, found in self.network(inputs).items():
            self.computed.setdefault(name, []).append(np.asarray(found))
            wanted = around.values[name].astype(found.dtype)
            overflown = may_overflow & np.isfinite(wanted) & ~np.isfinite(found)
            program = around.measure(name, np.where(overflown, wanted, found))
            self.outputs.setdefault(("program", name), []).append(program)

    def report(self, samples: int, checks: Sequence[CheckDiff]) -> DiffReport:
        """The findings of all batches together."""
        network = self.network
        layers = tuple(
            LayerDiff(
                *(layer.node.name, operator_text(layer.node.op)),
                network.lowered.shape_of(layer.node),
                place=str(layer.node.span or ""),
                errors=Errors.worst(self.errors[layer.step]),
                spill=self.spills.get(layer.step, ""),
            )
            for layer in network.lowered.layers
        )
        outputs = tuple(
            OutputDiff(stage, name, Errors.worst(found))
            for (stage, name), found in sorted(self.outputs.items())
        )
        return DiffReport(
            *(network.graph.name, network.options.backend, samples, layers, outputs, tuple(checks)),
            blames=tuple(self._blames(layers, outputs)),
        )

    def _blames(self, layers: Sequence[LayerDiff], outputs: Sequence[OutputDiff]) -> list[Blame]:
        blames: list[Blame] = []
        if self.guilty:
            name, output = self.guilty
            why = f"the graph computes another `{output}` than the source"
            blames.append(Blame(f"{PASSES}, {name}" if name else PASSES, why))
        for suspect in self.suspects.values():
            blames.append(blame_layer(suspect, self.network.options.backend))
        if self.suspects:
            return blames
        for layer in layers:
            if layer.spill:
                return [*blames, Blame("lowering", layer.spill, layer.name, layer.place)]
        wrong = [each.name for each in outputs if each.stage == "program" and not each.ok]
        if wrong:
            why = f"every layer alone is right, but the program's `{wrong[0]}` is not"
            blames.append(Blame(PROGRAM, why))
        return blames


def _compare_checks(
    network: Compiled, checks: Sequence[CheckVectors], known: Mapping[str, Array] | None
) -> list[CheckDiff]:
    """See `diff`; `known` are the results for the first, if there are any yet."""
    rows = []
    reference = Compiled(network.graph, Options(backend=REFERENCE)) if checks else None
    for number, check in enumerate(checks):
        results = known if known and number == 0 else network(check.inputs)
        truth = reference(check.inputs) if reference else {}
        for name, wanted in check.outputs.items():
            largest, ratio = check.measure(name, results[name])
            _, reference_ratio = check.measure(name, truth[name])
            rows.append(CheckDiff(name, len(wanted), largest, ratio, reference_ratio))
    return rows
