"""Inputs of a flat net, and what its outputs need."""

from collections.abc import Sequence
from dataclasses import replace

from cnnc.onnx.builder import Builder
from cnnc.onnx.flat import End, Stage, Tensor
from cnnc.onnx.values import Flow


def open_inputs(
    build: Builder, ends: Sequence[End]
) -> tuple[list[Tensor], tuple[End, ...], list[Flow]]:
    """The inputs of the net, what they are outside of it, and their values.

    All get an axis of extent 1 in front where their first extents differ or one has fewer than two
    axes: the language wants every input to begin with the batch.
    """
    first = {end.shape[0] for end in ends if len(end.shape) > 1}
    is_wrapped = len(first) != 1 or any(len(end.shape) < 2 for end in ends)
    made = tuple(replace(end, is_wrapped=is_wrapped) for end in ends)
    tensors = [build.input(end.name, end.in_net, end.dtype) for end in made]
    flows = []
    for end, tensor in zip(made, tensors, strict=True):
        flow = Flow(tensor.name, tensor.shape, tensor.dtype, frozenset({end.name}))
        build.begin(end.name, "")
        flows.append(build.reshape(flow, end.shape) if is_wrapped else flow)
    return tensors, made, flows


def needed(stages: Sequence[Stage], ends: Sequence[str]) -> tuple[Stage, ...]:
    """The stages that the outputs need."""
    found = {*ends}
    for stage in reversed(stages):
        if stage.name in found:
            found.update(each for each in stage.operands if isinstance(each, str))
    return tuple(stage for stage in stages if stage.name in found)
