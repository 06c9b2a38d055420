"""Graph → Program: one kernel for each node, scheduled for the target, and a plan of memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod

from cnnc.base.choice import ESTIMATED, Choices
from cnnc.base.layout import Layout
from cnnc.base.target import Target
from cnnc.base.tiles import Tile, Work, choose_tile, halves, most_unrolled
from cnnc.ir.graph import Graph, Node
from cnnc.loop.build import KernelBuilder, spatial_letters
from cnnc.loop.expr import Buffer
from cnnc.loop.kernel import Kernel, Origin
from cnnc.loop.verify import verify_kernel
from cnnc.lowering.channels import copy_channels
from cnnc.lowering.elementary import expand_elementary
from cnnc.lowering.flatten import flatten
from cnnc.lowering.halo import clear_halo, clear_padding
from cnnc.lowering.hints import late_operands
from cnnc.lowering.lowered import Layer, Lowered
from cnnc.lowering.order import order_steps
from cnnc.lowering.positions import join_positions, part_positions
from cnnc.lowering.program import assemble
from cnnc.lowering.samples import begins_with_samples, schedule_apart, take_samples
from cnnc.lowering.schedule import (
    Order,
    schedule_blocked,
    schedule_permuted,
    schedule_plain,
    schedule_reblocked,
    schedule_rows,
    schedule_unblocked,
    share_nothing,
)
from cnnc.lowering.sharing_rows import begins_with_rows, share_rows, turn_uneven
from cnnc.lowering.strassen import schedule_strassen
from cnnc.lowering.streamed import lower_streamed
from cnnc.lowering.tails import roll_tails
from cnnc.lowering.taking import hand_out
from cnnc.lowering.task import task_of
from cnnc.lowering.threads import ALGORITHM, align_constants, operand_layouts, schedule_threads
from cnnc.lowering.vectors import expand_vectors
from cnnc.lowering.winograd import schedule_winograd
from cnnc.offers.direct import Form, blocks_of, choose_form, is_tiled, weight_bytes, work_of
from cnnc.offers.offer import chosen_for, root_of
from cnnc.offers.one_row import may_be_one_row, pays_in_one_row
from cnnc.offers.padding import lacks_halo, pads_channels
from cnnc.offers.panels import Panels, panels_of
from cnnc.offers.rows import choose_rows, lies_in_rows
from cnnc.offers.shares import shares_rows, sharing_target
from cnnc.ops.fused import Fused, root_operator
from cnnc.ops.repack import Repack
from cnnc.ops.spec import Operator
from cnnc.ops.strassen import Strassen
from cnnc.ops.streamed import Streamed
from cnnc.ops.winograd import Winograd

Watch = Callable[[Kernel], None]


def lower(
    graph: Graph,
    target: Target,
    choices: Choices = ESTIMATED,
    watch: Watch = lambda kernel: None,
) -> Lowered:
    """Loops for a graph whose layouts are assigned; equal layers share one kernel.

    `watch` sees each kernel of the program as soon as it is made. UserError for a choice that is
    not possible.
    """
    layers: list[Layer] = []
    made: dict[object, tuple[Kernel, int]] = {}
    flat: dict[Kernel, int] = {}
    kernels: list[Kernel] = []
    calls: list[int] = []
    shared = sharing_target(graph, target)
    for node in order_steps(graph):
        # Two keys: equal nodes are lowered once, and different ones may come out as equal loops.
        if (key := _shape_of(node)) not in made:
            is_range = _is_counted(graph) and node.type.shape[0] == graph.batch
            scheduled = lower_node(node, shared, choices, is_range=is_range)
            if is_range:
                scheduled = _for_samples(node, scheduled, target, choices)
            bare = flatten_kernel(replace(scheduled, name="", origin=Origin("", "")))
            if target.is_gpu:
                bare = replace(bare, task=task_of(node, scheduled))
            call = flat.setdefault(bare, len(flat))
            if call == len(kernels):
                kernels.append(replace(bare, name=f"k{call}_{_identifier(node.name)}"))
                verify_kernel(kernels[call])
                watch(kernels[call])
            made[key] = scheduled, call
        scheduled, call = made[key]
        origin = replace(scheduled.origin, layer=node.name, place=str(node.span or ""))
        kernel = replace(scheduled, name=_identifier(node.name), origin=origin)
        layers.append(Layer(node, (*node.inputs, node), kernel, len(layers)))
        calls.append(call)
    program = assemble(graph, layers, kernels, calls, target)
    return Lowered(graph, program, tuple(layers))


def _is_counted(graph: Graph) -> bool:
    """Whether kernels are asked for a number of samples."""
    return graph.fewest is not None and not graph.is_apart


def _shape_of(node: Node) -> object:
    """All that the loops of a node depend on; the operator's text tells 0.0 from -0.0."""
    operands = tuple((operand.type, not operand.is_constant) for operand in node.inputs)
    return node.op, repr(node.op), operands, node.type


def _for_samples(node: Node, kernel: Kernel, target: Target, choices: Choices) -> Kernel:
    """The kernel for any number of samples; scheduled apart where a tile would hold several."""
    if not begins_with_samples(kernel, kernel.params[-1]):
        kernel = lower_node(node, target, choices, samples_apart=True, is_range=True)
    kernel = take_samples(kernel, kernel.params[-1])
    verify_kernel(kernel)
    return kernel


def flatten_kernel(kernel: Kernel) -> Kernel:
    """What a backend gets: offsets, vectors, and primitives instead of elementary functions."""
    return expand_elementary(expand_vectors(flatten(kernel)))


def lower_node(
    node: Node,
    target: Target,
    choices: Choices = ESTIMATED,
    *,
    samples_apart: bool = False,
    rows_apart: bool = False,
    is_range: bool = False,
) -> Kernel:
    """The scheduled kernel of one node, still indexed logically; LoopError if it is not sound.

    With `samples_apart`, no vector or tile holds elements of several samples; with `rows_apart`,
    none runs on from one row into the next, as rows are only some of a tensor's. `is_range` says
    that a run may have fewer samples.
    """
    cores = 1 if rows_apart or target.is_small or target.is_gpu else target.cores
    if isinstance(node.op, Streamed):
        kernel = lower_streamed(node, node.op, partial(lower_node, target=target, rows_apart=True))
    elif target.is_gpu:
        kernel = schedule_threads(_defined(node, _gpu_layouts(node), ALGORITHM))
    else:
        plan = _plan(node, target, choices, rows_apart=rows_apart)
        kernel = _defined(node, plan.layouts, plan.algorithm)
        kernel = _scheduled(node, kernel, plan, target, samples_apart=samples_apart)
        if plan.copies_channels:
            x = replace(kernel.params[0], layout=node.inputs[0].type.layout)
            kernel = copy_channels(share_nothing(kernel), x)
    out, by_rows = kernel.params[-1], False
    if cores > 1:
        if shares_rows(node, target):
            kernel = share_rows(kernel, out, cores, any_samples=is_range)
        kernel = turn_uneven(kernel, cores, any_samples=is_range)
        by_rows = begins_with_rows(kernel, out)
    kernel = clear_halo(replace(kernel, name=_identifier(node.name)), out, by_rows=by_rows)
    if target.is_small:
        kernel = share_nothing(kernel)
    if not target.is_gpu:
        kernel = roll_tails(kernel)
    kernel = hand_out(kernel, replace(target, cores=cores))
    verify_kernel(kernel)
    return kernel


def _gpu_layouts(node: Node) -> list[Layout]:
    """How each operand lies where a GPU reads it."""
    root, operands = root_of(node)
    layouts = operand_layouts(root, [operand.type for operand in operands], node.type)
    return align_constants(node, [*layouts, *(e.type.layout for e in node.inputs[len(layouts) :])])


def _defined(node: Node, layouts: Sequence[Layout], algorithm: str) -> Kernel:
    """The operator's own loops."""
    op = node.op
    assert isinstance(op, Operator)
    params = [
        Buffer(name, operand.type.shape, operand.type.dtype, layout)
        for name, operand, layout in zip(
            _operand_names(op, node.inputs), node.inputs, layouts, strict=True
        )
    ]
    out = Buffer("y", node.type.shape, node.type.dtype, node.type.layout)
    build = KernelBuilder(out, *params)
    op.define(build, *params)
    macs = op.macs(node.type, *(operand.type for operand in node.inputs))
    origin = Origin(op.label, node.name, str(node.span or ""), macs, algorithm)
    return Kernel(node.name, (*params, out), ("y",), build.body, origin)


def _scheduled(
    node: Node, kernel: Kernel, plan: "_Plan", target: Target, *, samples_apart: bool
) -> Kernel:
    """The loops as they suit the target and how the tensors lie."""
    (*params, out), op = kernel.params, node.op
    assert isinstance(op, Operator)
    root = root_operator(op)
    if isinstance(root, Winograd):
        return schedule_winograd(kernel, plan.tile, plan.block, plan.read_block)
    if isinstance(root, Strassen):
        return schedule_strassen(
            *(kernel, plan.tile, plan.read_block),
            far_weights=_has_far_weights(node, plan, target),
            late=late_operands(node, params),
            by_lane=target.multiplies_by_lane,
        )
    kinds = [operand.type for operand in root_of(node)[1]]
    if plan.block > 1 and (at_once := root.permuted_vectors(plan.block, *kinds)):
        return schedule_permuted(kernel, plan.block, at_once)
    if isinstance(root, Repack) and plan.block > 1 and plan.read_block not in (1, plan.block):
        kernel = schedule_reblocked(kernel, plan.block, plan.read_block)
        return clear_padding(kernel, out) if out.shape[1] % plan.block else kernel
    lanes = target.lanes(node.type.dtype)
    if plan.in_rows:
        groups = op.nest(node.type, *(operand.type for operand in node.inputs)).groups
        in_rows = partial(schedule_rows, lanes=lanes, tile=plan.tile, groups=groups)
        return _with_rows(node, kernel, plan, in_rows)
    if plan.is_tiled:
        padded = _is_padded(root, kernel, out)
        order = Order(
            *(plan.shares_input, padded, plan.rows_first, plan.one_tap),
            _has_far_weights(node, plan, target),
            late_operands(node, params) if plan.block > 1 else (),
            most_unrolled(target),
            *(plan.panels, plan.phases, plan.joins_phases),
            halves=padded and halves(work_of(node, target), plan.tile),
        )
        schedule = partial(schedule_blocked, tile=plan.tile, block=plan.block, order=order)
        kernel = _with_rows(node, kernel, plan, partial(schedule, read_block=plan.read_block))
        return kernel if padded else clear_padding(kernel, out)
    tile = _row_tile(node, lanes, target)
    schedule = partial(schedule_plain, lanes=lanes, tile=tile, by_element=root.is_elementwise)
    if isinstance(root, Repack) and plan.read_block > 1 and node.type.rank > 2:
        schedule = partial(schedule_unblocked, lanes=lanes, block=plan.read_block)
    return schedule_apart(kernel, schedule) if samples_apart else schedule(kernel)


def _with_rows(
    node: Node, kernel: Kernel, plan: "_Plan", schedule: Callable[[Kernel], Kernel]
) -> Kernel:
    """The kernel scheduled, meanwhile with all positions in one row if that is the plan."""
    if not plan.in_one_row:
        return schedule(kernel)
    letters = spatial_letters(len(node.type.spatial))
    joined = join_positions(kernel, *([f"{kind}{x}" for x in letters] for kind in "ok"))
    return part_positions(replace(schedule(joined), params=kernel.params))


@dataclass(frozen=True, slots=True)
class _Plan:
    """How one node is lowered: blocks, tile, and the layout each operand is read in."""

    block: int
    read_block: int
    is_tiled: bool
    in_rows: bool
    tile: Tile
    layouts: tuple[Layout, ...]
    algorithm: str
    shares_input: bool
    rows_first: bool
    one_tap: bool
    phases: int
    joins_phases: bool
    copies_channels: bool
    in_one_row: bool
    panels: Panels


def _plan(node: Node, target: Target, choices: Choices, *, rows_apart: bool) -> _Plan:
    op = node.op
    assert isinstance(op, Operator)
    kinds = [operand.type for operand in node.inputs]
    block, read_block = blocks_of(node)
    tiled = is_tiled(node, target)
    form = _form(node, block, target, choices)
    layouts = [kind.layout for kind in kinds]
    root, arity = (op.root, op.root_arity) if isinstance(op, Fused) else (op, len(kinds))
    in_rows = lies_in_rows(node, target)
    nest, together = op.nest(node.type, *kinds), block * form.tile.blocks
    if in_rows:
        together = form.tile.columns if nest.groups == 1 else node.type.channels // nest.groups
    packed = root.packing(read_block, together, *kinds[:arity])
    if packed:
        layouts[arity - len(packed) : arity] = packed
    copies = pads_channels(node, target) and lacks_halo(node)
    if copies:
        layouts[0] = Layout.plain(node.type.rank).with_halo(op.halo(*kinds))
    algorithm = f"blocked by {block}" if block > 1 else "row-major"
    algorithm += f", tile {form.tile}" * tiled
    if in_rows:
        algorithm = f"in rows, tile {form.tile}"
    if form.rows_first:
        algorithm += ", rows first"
    keeps_rows = rows_apart or form.rows_first or isinstance(root, Winograd | Strassen)
    in_one_row = tiled and not keeps_rows
    in_one_row = in_one_row and pays_in_one_row(node, work_of(node, target), form.tile)
    in_one_row = in_one_row or (in_rows and not rows_apart and may_be_one_row(node))
    if in_one_row:
        algorithm += ", rows as one"
    if copies:
        algorithm += ", each channel copied"
    if isinstance(root, Winograd | Strassen):
        algorithm = f"{root.text}, tile {form.tile}"
    panels = Panels()
    if tiled:
        panels = panels_of(node, form, target, in_one_row=in_one_row, rows_apart=rows_apart)
    return _Plan(
        *(block, read_block, tiled, in_rows, form.tile, tuple(layouts), algorithm),
        *(tiled and not nest.per_channel, form.rows_first, nest.one_tap),
        len(nest.spatial) if nest.phases else 0,
        form.rows_first or _phases_stay(node, form.tile, block, target),
        *(copies, in_one_row, panels),
    )


def _phases_stay(node: Node, tile: Tile, block: int, target: Target) -> bool:
    """Whether the weights of all phases of a tile of channels stay in the second-level cache.

    They are read again for every row where phases are joined.
    """
    tiles = -(-node.type.channels // (block * tile.blocks)) if node.type.rank > 1 else 1
    return weight_bytes(node) // tiles <= target.l2_bytes // 4


def _has_far_weights(node: Node, plan: "_Plan", target: Target) -> bool:
    """Whether weights leave the second-level cache, and the next ones have to be fetched in time.

    Those of a single position are read once, in the order of memory: the machine foresees that,
    and what is fetched as far ahead as a tile of channels is long would leave that cache again.
    """
    if plan.block == 1 or not plan.shares_input or prod(node.type.spatial) == 1:
        return False
    return weight_bytes(node) > target.l2_bytes // 4


def _form(node: Node, block: int, target: Target, choices: Choices) -> Form:
    """The register tile and the order of a layer's loops, where these are not the operator's."""
    root, _ = root_of(node)
    if isinstance(root, Winograd | Strassen):
        return Form(Tile(root.channels_at_once // block, *root.register_tile))
    chosen = chosen_for(node, choices)
    if is_tiled(node, target):
        return choose_form(node, target, chosen)
    if lies_in_rows(node, target):
        return Form(choose_rows(node, target, chosen))
    if chosen:
        raise chosen.refuse(node.name, "its channels are not blocked")
    return Form(Tile(1, 1, 1))


def _row_tile(node: Node, lanes: int, target: Target) -> Tile:
    """Rows and vectors of a row-major result that are accumulated at once."""
    op, out = node.op, node.type
    assert isinstance(op, Operator)
    if not out.rank:
        return Tile(1, 1, 1)
    kinds = [operand.type for operand in node.inputs]
    shares = out.rank > 1 and op.nest(out, *kinds).shares_rows
    steps = max(1, (op.macs(out, *kinds) or kinds[0].elements) // max(1, out.elements))
    rows = (out.shape[-2],) if shares else ()
    work = Work(-(-out.shape[-1] // lanes), rows, steps, per_channel=not shares)
    return choose_tile(work, target)


def _is_padded(op: Operator, kernel: Kernel, out: Buffer) -> bool:
    """Whether operands have their channels in memory up to the whole blocks of the result.

    The layout pass sees to it for all operators but the copies it makes itself, and for those that
    write blocks from rows.
    """
    extent = out.layout.extent(out.shape, 1)
    if op.gathers:
        return extent == out.shape[1]
    if not isinstance(op, Repack):
        return True
    return all(param.layout.extent(param.shape, 1) == extent for param in kernel.params[:-1])


def _operand_names(op: Operator, inputs: Sequence[Node]) -> list[str]:
    """x (or x0, x1, …) for data, parameters by name, then e0, e1, … for what fusing added."""
    root, arity = (op.root, op.root_arity) if isinstance(op, Fused) else (op, len(inputs))
    parameters = [spec.name for spec in root.parameters(*(node.type for node in inputs[:1]))]
    data = arity - len(parameters)
    names = ["x"] if data == 1 else [f"x{position}" for position in range(data)]
    return [*names, *parameters, *(f"e{extra}" for extra in range(len(inputs) - arity))]


def _identifier(name: str) -> str:
    """A name as a symbol of the linker."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)
