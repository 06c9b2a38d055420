"""What algorithms offer for a layer, how it is written, and what is refused."""

import pickle
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from cnnc import driver
from cnnc.base.choice import KEY_LENGTH, Choice, Choices, Chosen
from cnnc.base.errors import UserError
from cnnc.base.source import SourceFile
from cnnc.base.tiles import (
    Tile,
    Work,
    cut_lines,
    cycles,
    even_pieces,
    even_widths,
    short_cycles,
    shorten,
)
from cnnc.compare import diff
from cnnc.compiled import Compiled
from cnnc.frontend.load import load_text
from cnnc.ir.graph import Graph, Node
from cnnc.loop.text import print_kernel
from cnnc.offers import direct
from cnnc.offers.offer import key_of
from cnnc.offers.registry import OFFERS
from cnnc.offers.winograd import choice_of
from cnnc.ops.spec import Operator
from cnnc.ops.winograd import Winograd
from cnnc.options import Options
from cnnc.passes.use_winograd import use_winograd

TARGETS = ["native", "x86-64-v4", "x86-64-v3", "x86-64", "aarch64"]


def net(body: str, shape: str = "64, 14, 14") -> Graph:
    """A net of one input."""
    text = (
        f"cnn 1\nnet n {{\n  input x: f32[N, {shape}]\n"
        f"  output y = {body}\n  weights he(seed = 1)\n}}\n"
    )
    return load_text(SourceFile("n.cnn", text), None).graph


def layers(graph: Graph, target: str) -> list[Node]:
    """The layers that compute something, as they are without Winograd."""
    passes = driver.pipeline(driver.find_target(target), exact=True)
    nodes = driver.optimise(graph, passes).nodes
    return [node for node in nodes if isinstance(node.op, Operator) and node.op.name != "repack"]


def offered(node: Node, target: str) -> Mapping[str, float]:
    """All choices for a layer as text, with their estimates."""
    machine = driver.find_target(target)
    found = [each for offer in OFFERS for each in offer.candidates(node, machine, far=False)]
    assert len({each.choice for each in found}) == len(found)
    return {str(each.choice): each.cycles for each in found}


def loops(graph: Graph, target: str, choices: Choices) -> str:
    """The printed loops of a net."""
    lowered, _ = driver.plan(graph, driver.find_target(target), choices=choices)
    return "\n".join(print_kernel(layer.kernel) for layer in lowered.layers)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "body",
    ["x -> conv(64, 3, pad = same) -> relu", "x -> conv(128, 1)", "x -> conv(64, 3, groups = 64)"],
)
def test_choices_print_parse_and_lower(body: str, target: str) -> None:
    """Each is text that reads back, has an estimate, and is possible."""
    graph = net(body)
    (node,) = layers(graph, target)
    found = offered(node, target)
    assert len(found) > 3
    assert all(cost > 0 for cost in found.values())
    several = [*found][:: max(1, len(found) // 6)]
    made = set()
    for text in several:
        choice = Choice.parse(text)
        assert str(choice) == text
        choices = Choices({key_of(node, Choices()): Chosen(choice)})
        made.add(loops(graph, target, choices))
    assert len(made) == len(several)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", ["64, 56, 56", "32, 200", "16, 4, 8, 8", "512, 7, 7"])
def test_the_default_is_the_cheapest(shape: str, target: str) -> None:
    """What is used without a choice is what the estimates say."""
    (node,) = layers(net("x -> conv(64, 3, pad = same)", shape), target)
    machine = driver.find_target(target)
    found = offered(node, target)
    form = direct.choose_form(node, machine)
    direct_ones = [cost for text, cost in found.items() if text.startswith("direct ")]
    assert found[str(form.choice)] == min(direct_ones)


@pytest.mark.parametrize(("target", "wins"), [("x86-64-v4", True), ("x86-64-v3", False)])
@pytest.mark.parametrize(("steps", "near"), [(32, True), (2048, False)])
def test_stores_of_short_sums(target: str, wins: bool, steps: int, near: bool) -> None:
    """Tiles of fewer wide vectors cost less where their weights are near."""
    work, found = Work(4, (28,), steps, per_channel=False), driver.find_target(target)
    small, large = (short_cycles(work, Tile(2, 1, width), found) for width in (7, 14))
    assert (small < large) == (wins and near)


@pytest.mark.parametrize(
    ("tile", "shorter"), [((2, 1, 14), (2, 1, 7)), ((1, 1, 28), (1, 1, 28)), ((4, 1, 5), (4, 1, 5))]
)
def test_tiles_that_store_less(tile: tuple[int, ...], shorter: tuple[int, ...]) -> None:
    """Of as many blocks, and only where that gains enough."""
    work, target = Work(4, (tile[2] * 4,), 64, per_channel=False), driver.find_target("x86-64-v4")
    assert shorten(Tile(*tile), work, target) == Tile(*shorter)
    own = replace(work, per_channel=True)
    assert shorten(Tile(*tile), own, target) == Tile(*tile)


@pytest.mark.parametrize(
    ("body", "channels", "target", "columns"),
    [
        ("x -> conv(64, 1) -> relu", 32, "x86-64-v4", 7),
        ("x -> conv(64, 1) -> add(1) -> hardswish", 32, "x86-64-v4", 7),
        ("x -> conv(64, 1) -> silu", 32, "x86-64-v4", 14),
        ("x -> conv(64, 1) -> relu -> tanh", 32, "x86-64-v4", 14),
        ("x -> conv(64, 1) -> relu", 512, "x86-64-v4", 14),
        ("x -> conv(64, 1) -> relu", 32, "x86-64-v3", 6),
    ],
)
def test_short_sums_have_shorter_tiles(body: str, channels: int, target: str, columns: int) -> None:
    """Of wide vectors, where no elementary function stands between sums and stores."""
    (node,) = layers(net(body, f"{channels}, 56, 56"), target)
    assert direct.choose_form(node, driver.find_target(target)).tile.columns == columns


@pytest.mark.parametrize("beside", [(0, 0), (1, 1), (0, 2)])
@pytest.mark.parametrize("in_line", [1, 2, 4])
@pytest.mark.parametrize("columns", [1, 7, 13, 14, 28, 35])
def test_lines_that_two_tiles_of_a_row_read(
    columns: int, in_line: int, beside: tuple[int, int]
) -> None:
    """Counted position by position."""
    before, after = beside
    for width in even_widths(columns):
        lengths = [size for size, count in even_pieces(columns, width) for _ in range(count)]
        shared = 0
        for row in range(in_line):
            read: list[int] = []
            start = before + row * (before + columns + after)
            for length in lengths:
                read += {position // in_line for position in range(start, start + length)}
                start += length
            shared += len(read) - len(set(read))
        if in_line <= width:  # or else a line has more than two
            assert cut_lines(columns, width, in_line, *beside) == shared / in_line


def test_tiles_that_cut_lines_of_memory() -> None:
    """Three columns read half a line that the next tile reads again; whole lines cost nothing."""
    found = driver.find_target("x86-64-v3")
    alone = Work(8, (56, 56), 256, per_channel=False, read_block=8)
    work = replace(alone, in_line=2)

    def costs(tile: Tile) -> float:
        return cycles(work, tile, found) / cycles(alone, tile, found)

    assert costs(Tile(2, 1, 4)) == 1
    assert costs(Tile(2, 2, 3)) > costs(Tile(2, 1, 6)) > 1
    work = replace(work, beside=(1, 1))
    assert costs(Tile(2, 1, 4)) > costs(Tile(2, 1, 6)) > 1


def test_windows_and_whole_lines_have_none_cut() -> None:
    """The columns of a window are read again by the next tile anyway."""
    bodies = {"x -> conv(64, 1)": 2, "x -> conv(64, 3)": 1, "x -> conv(64, 1, stride = 2)": 1}
    for body, in_line in bodies.items():
        for target, positions in (("x86-64-v3", in_line), ("x86-64-v4", 1)):
            (node,) = layers(net(body), target)
            assert direct.work_of(node, driver.find_target(target)).in_line == positions


def test_a_halo_that_another_layer_reads_moves_lines() -> None:
    target = driver.find_target("x86-64-v3")
    graph = net("x -> conv(64, 1) -> concat { conv(32, 1) | conv(64, 3, pad = 1) }")
    (node,) = [each for each in layers(graph, "x86-64-v3") if each.type.channels == 32]
    assert direct.work_of(node, target).beside == (1, 1)


def test_sums_that_just_hide_the_latency() -> None:
    """Eight take longer than their share of ten."""
    work = Work(2, (40, 40), 576, per_channel=False)
    eight, ten = (
        cycles(work, Tile(2, 1, width), driver.find_target("x86-64-v3")) for width in (4, 5)
    )
    assert eight > 1.03 * ten


def test_the_default_said_aloud_changes_nothing() -> None:
    graph, target = net("x -> conv(64, 3, stride = 2) -> relu"), "x86-64-v3"
    (node,) = layers(graph, target)
    choice = direct.choose_form(node, driver.find_target(target)).choice
    choices = Choices({key_of(node, Choices()): Chosen(choice)})
    assert loops(graph, target, choices) == loops(graph, target, Choices())


@pytest.mark.parametrize("number", range(6))
def test_choices_compute_the_same(number: int) -> None:
    """Whatever is chosen, the layer is the one of the text."""
    graph = net("x -> conv(48, 3, pad = same) -> relu", "20, 13, 11")
    (node,) = layers(graph, "native")
    found = [*offered(node, "native")]
    text = found[number * (len(found) - 1) // 5]
    choices = Choices({key_of(node, Choices()): Chosen(Choice.parse(text))})
    compiled = Compiled(graph, Options(), choices=choices)
    assert compiled.tuned == {key_of(node, Choices())}
    report = diff(compiled)
    assert report.ok, f"{text}: {report.format()}"


def test_keys() -> None:
    """They are those of equal layers, whatever is fused to them, and of no others."""
    target = "x86-64-v3"
    bodies = [
        ("x -> conv(64, 3, pad = same)", "64, 14, 14"),
        ("x -> conv(64, 3, pad = same) -> relu", "64, 14, 14"),
        ("x -> conv(64, 3, pad = same)", "64, 14, 15"),
        ("x -> conv(64, 3)", "64, 14, 14"),
        ("x -> conv(64, 3, pad = same, bias = false)", "64, 14, 14"),
    ]
    nodes = [layers(net(*body), target)[0] for body in bodies]
    keys = [key_of(node, Choices()) for node in nodes]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4
    assert {len(key) for key in keys} == {KEY_LENGTH}
    assert key_of(nodes[0], Choices(facts="another machine")) != keys[0]
    graph = net(bodies[1][0])
    (source,) = (node for node in graph.nodes if node.op.label.startswith("conv"))
    assert key_of(source, Choices()) == keys[0]


@pytest.mark.parametrize(
    "text",
    [
        "direct tile=8x1x1",
        "direct tile=1x3x1",
        "direct tile=1x1x15",
        "direct tile=4x2x14",
        "direct tile=1x1",
        "direct",
        "direct rows_first tile=1x1x2",
        "direct tile=1x1x2 upside_down",
        "direct tile=4x1x1 rows_first",
        "winograd points=6",
        "winograd points=5 rows=1 at_once=16 columns=1",
        "winograd points=6 rows=5 at_once=16 columns=1",
        "winograd points=6 rows=1 at_once=12 columns=1",
        "winograd points=6 rows=1 at_once=48 columns=1",
        "winograd points=6 rows=1 at_once=16 columns=9",
        "winograd points=6 rows=1 at_once=999999999 columns=1",
        "winograd points=6 rows=1 at_once=16 columns=1 more=1",
        "winograd points=6 rows=1 at_once=16 columns=1 parts=1",
        "magic",
    ],
)
def test_what_is_not_possible(text: str) -> None:
    """It is refused, where it is written."""
    graph, target = net("x -> conv(64, 3, pad = same)"), "x86-64-v4"
    (node,) = layers(graph, target)
    source = SourceFile("n.tune", f"# {text}\n")
    chosen = Chosen(Choice.parse(text), source.span(2, 2 + len(text)))
    with pytest.raises(UserError) as caught:
        loops(graph, target, Choices({key_of(node, Choices()): chosen}))
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E0805"
    assert diagnostic.span is chosen.span
    assert diagnostic.label
    assert f"`{text}`" in diagnostic.message


def test_parts_follow_from_the_cores() -> None:
    """The same choice is split as the target's cores need it, and as by default."""
    graph, one = net("x -> conv(256, 3, pad = same)"), driver.find_target("x86-64-v4")
    (node,) = layers(graph, "x86-64-v4")
    parts = []
    for cores in (1, 2, 8):
        target = replace(one, cores=cores)
        used = use_winograd(graph, target).outputs["y"].op
        assert isinstance(used, Winograd)
        assert "parts" not in str(choice_of(used))
        choices = Choices({key_of(node, Choices()): Chosen(choice_of(used))})
        assert use_winograd(graph, target, choices).outputs["y"].op == used
        first = use_winograd(graph, one).outputs["y"].op
        assert isinstance(first, Winograd)
        choices = Choices({key_of(node, Choices()): Chosen(choice_of(first))})
        chosen = use_winograd(graph, target, choices).outputs["y"].op
        assert isinstance(chosen, Winograd)
        assert choice_of(chosen) == choice_of(first)
        parts.append(chosen.parts)
    assert parts == sorted(set(parts))


@pytest.mark.parametrize(
    "body", ["x -> conv(64, 3, groups = 2)", "x -> conv(64, 1)", "x -> conv(1, 3)", "x -> relu"]
)
def test_winograd_is_not_for_everything(body: str) -> None:
    graph, target = net(body), "x86-64-v4"
    node = layers(graph, target)[0]
    choice = Choice.parse("winograd points=6 rows=1 at_once=16 columns=1")
    with pytest.raises(UserError, match="E0805"):
        loops(graph, target, Choices({key_of(node, Choices()): Chosen(choice)}))


@pytest.mark.parametrize(
    "text", ["", "Direct", "direct  tile=1", "direct tile=", "direct tile=0", "direct tile=1x",
             "direct tile=1 tile=2", "direct tile=1e3", "direct ", "direct tile=1234567890"],
)  # fmt: skip
def test_what_is_no_choice(text: str) -> None:
    with pytest.raises(ValueError, match="is no choice"):
        Choice.parse(text)


def test_a_choice_travels_with_pickles() -> None:
    """A copy in another process makes the same code."""
    graph = net("x -> conv(64, 3, pad = same)")
    (node,) = layers(graph, "native")
    text = next(text for text in reversed([*offered(node, "native")]))
    choices = Choices({key_of(node, Choices()): Chosen(Choice.parse(text))})
    compiled = Compiled(graph, Options(), choices=choices)
    copy = pickle.loads(pickle.dumps(compiled))
    assert [print_kernel(layer.kernel) for layer in copy.lowered.layers] == [
        print_kernel(layer.kernel) for layer in compiled.lowered.layers
    ]
    x = np.random.default_rng(0).standard_normal((1, 64, 14, 14), np.float32)
    np.testing.assert_array_equal(copy(x)["y"], compiled(x)["y"])


def test_tiles_need_not_divide_the_channels_where_that_is_much_faster() -> None:
    """Seven sums at a time do not hide a multiply-add's latency, twelve do; 1 of 64 blocks is left.

    On AVX-512 two blocks of seven are as good, and stay.
    """
    (seven,) = layers(net("x -> conv(512, 1)", "256, 7, 7"), "x86-64-v3")
    found = offered(seven, "x86-64-v3")
    best = min(found, key=lambda choice: found[choice])
    assert best.startswith("direct tile=3x1x4")
    assert found[best] < 0.96 * found["direct tile=1x1x7"]
    (wide,) = layers(net("x -> conv(512, 1)", "256, 7, 7"), "x86-64-v4")
    found = offered(wide, "x86-64-v4")
    assert min(found, key=lambda choice: found[choice]) == "direct tile=2x1x7"


def test_machines_with_half_the_multiply_adds_take_larger_tiles_of_winograd() -> None:
    """Products cost twice as much there, and weights from memory no more."""
    body = "x -> conv(512, 3, pad = same, bias = false)"
    points = {}
    for units in (1, 2):
        target = replace(driver.find_target("x86-64-v4"), vector_units=units)
        graph = use_winograd(net(body, "512, 12, 12"), target, far=True)
        (found,) = [node.op for node in graph.nodes if isinstance(node.op, Winograd)]
        points[units] = max(found.tile)
    assert points == {1: 6, 2: 4}


@pytest.mark.parametrize(("cpu", "units"), [("znver4", 1), ("znver5", 2), ("haswell", 2)])
def test_estimates_count_the_units_of_a_model(cpu: str, units: int) -> None:
    """A layer at the peak takes as many cycles more as there are units less."""
    target = driver.find_target(f"x86-64:{cpu}")
    assert target.vector_units == units
    work = Work(4, (56, 56), 576, per_channel=False, read_block=16)
    tile = Tile(2, 1, 14)
    products = 4 * 56 * 56 * 576 / units
    assert products < cycles(work, tile, target) < 1.2 * products


@pytest.mark.parametrize(
    ("body", "shape", "why"),
    [
        ("x -> conv(64, 11, pad = same)", "64, 32, 4096", "a row of its tiles would take"),
        ("x -> conv(1280, 5, pad = same)", "1280, 8, 8", "its weights would take"),
    ],
)
def test_forms_that_would_take_much_memory_are_refused(body: str, shape: str, why: str) -> None:
    graph, name = net(body, shape), "x86-64-v4"
    target = driver.find_target(name)
    found = [node.op for node in use_winograd(graph, target).nodes]
    assert not any(isinstance(op, Winograd) and max(op.tile) == 6 for op in found)
    (node,) = layers(graph, name)
    choice = Chosen(Choice.parse("winograd points=6 rows=1 at_once=16 columns=1"))
    with pytest.raises(UserError, match="E0805") as caught:
        loops(graph, name, Choices({key_of(node, Choices()): choice}))
    assert why in str(caught.value)
