"""Random models that turn, join and cut axes more than anybody would."""

from math import prod

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

LONGEST = 12


class Models:
    """One model for each seed."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[object] = []
        self.arrays: list[TensorProto] = []
        self.shapes: dict[str, tuple[int, ...]] = {}

    def model(self) -> ModelProto:
        """A model of one input and one or two outputs."""
        rank = int(self.random.integers(3, 6))
        batch = int(self.random.choice([1, 1, 2]))
        shape = (batch, *(int(n) for n in self.random.choice([1, 2, 3, 4, 6], rank - 1)))
        self.shapes["x"] = shape
        for _ in range(int(self.random.integers(2, LONGEST))):
            self._step()
        names = [*self.shapes]
        outputs = [names[-1]]
        if len(names) > 3 and self.random.random() < 0.3:
            outputs.append(names[int(self.random.integers(1, len(names) - 1))])
        graph = helper.make_graph(
            self.nodes,
            "random",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(y, TensorProto.FLOAT, self.shapes[y]) for y in outputs],
            self.arrays,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)

    def _step(self) -> None:
        names = [*self.shapes]
        near = (
            names[-1]
            if self.random.random() < 0.7
            else names[int(self.random.integers(len(names)))]
        )
        moves = (self._turn, self._turn, self._turn, self._one, self._add, self._two, self._join,
                 self._cut, self._reduce, self._reshape, self._unit, self._along, self._pad,
                 self._matrix, self._conv, self._flat, self._scale)  # fmt: skip
        moves[int(self.random.integers(len(moves)))](near, self.shapes[near])

    def _node(self, op: str, x: list[str], shape: tuple[int, ...], **given: object) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, x, [name], name=f"n{len(self.nodes)}", **given))
        self.shapes[name] = shape
        return name

    def _array(self, value: object) -> str:
        name = f"c{len(self.arrays)}"
        self.arrays.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _floats(self, shape: tuple[int, ...]) -> str:
        return self._array(self.random.normal(size=shape).astype(np.float32))

    def _turn(self, x: str, shape: tuple[int, ...]) -> None:
        rank = len(shape)
        kind = self.random.random()
        if rank > 2 and kind < 0.35:
            order = [0, rank - 1, *range(1, rank - 1)]
        elif rank > 2 and kind < 0.7:
            order = [0, *range(2, rank), 1]
        else:
            order = [int(n) for n in self.random.permutation(rank)]
        self._node("Transpose", [x], tuple(shape[n] for n in order), perm=order)

    def _one(self, x: str, shape: tuple[int, ...]) -> None:
        self._node(str(self.random.choice(["Relu", "Sigmoid", "Neg"])), [x], shape)

    def _some(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        kept = tuple(n if self.random.random() < 0.5 else 1 for n in shape)
        return kept[int(self.random.integers(len(shape))) :] or (1,)

    def _add(self, x: str, shape: tuple[int, ...]) -> None:
        op = str(self.random.choice(["Add", "Sub", "Mul"]))
        pair = [x, self._floats(self._some(shape))]
        self._node(op, pair[::-1] if self.random.random() < 0.3 else pair, shape)

    def _scale(self, x: str, shape: tuple[int, ...]) -> None:
        rank = len(shape)
        if rank < 2:
            return
        one = (1, shape[1], *(1,) * (rank - 2))
        y = self._node("Mul", [x, self._floats(one)], shape)
        self._node("Add", [y, self._floats(one)], shape)

    def _two(self, x: str, shape: tuple[int, ...]) -> None:
        for name, other in reversed(self.shapes.items()):
            try:
                both = np.broadcast_shapes(shape, other)
            except ValueError:
                continue
            if name != x and prod(both) < 5000:
                self._node("Add", [x, name], both)
                return

    def _join(self, x: str, shape: tuple[int, ...]) -> None:
        axis = int(self.random.integers(len(shape)))
        same = [name for name, other in self.shapes.items() if other == shape]
        other = same[int(self.random.integers(len(same)))]
        if prod(shape) < 2000:
            made = (*shape[:axis], 2 * shape[axis], *shape[axis + 1 :])
            self._node("Concat", [x, other], made, axis=axis)

    def _cut(self, x: str, shape: tuple[int, ...]) -> None:
        axis = int(self.random.integers(len(shape)))
        begin = int(self.random.integers(shape[axis]))
        step = int(self.random.choice([1, 1, 2, -1]))
        end = -(2**31) if step < 0 else shape[axis]
        count = len(range(shape[axis])[begin : None if step < 0 else end : step])
        ints = [self._array(np.array([n], np.int64)) for n in (begin, end, axis, step)]
        self._node("Slice", [x, *ints], (*shape[:axis], count, *shape[axis + 1 :]))

    def _reduce(self, x: str, shape: tuple[int, ...]) -> None:
        rank = len(shape)
        if rank < 2:
            return
        count = int(self.random.integers(1, rank))
        axes = sorted(int(n) for n in self.random.permutation(rank)[:count])
        keep = int(self.random.integers(2))
        kept = [1 if n in axes else shape[n] for n in range(rank)]
        made = kept if keep else [shape[n] for n in range(rank) if n not in axes]
        op = str(self.random.choice(["ReduceMean", "ReduceMax", "ReduceL2"]))
        self._node(op, [x], tuple(made), axes=axes, keepdims=keep)

    def _reshape(self, x: str, shape: tuple[int, ...]) -> None:
        extents = [*shape]
        for _ in range(int(self.random.integers(1, 3))):
            place = int(self.random.integers(len(extents)))
            if self.random.random() < 0.5 and place + 1 < len(extents):
                extents[place : place + 2] = [extents[place] * extents[place + 1]]
            elif extents[place] % 2 == 0 and len(extents) < 6:
                extents[place : place + 1] = [2, extents[place] // 2]
        wanted = self._array(np.array(extents, np.int64))
        self._node("Reshape", [x, wanted], tuple(extents))

    def _unit(self, x: str, shape: tuple[int, ...]) -> None:
        ones = [axis for axis, n in enumerate(shape) if n == 1]
        if ones and len(shape) > 2 and self.random.random() < 0.5:
            axis = ones[int(self.random.integers(len(ones)))]
            made = (*shape[:axis], *shape[axis + 1 :])
            self._node("Squeeze", [x, self._array(np.array([axis], np.int64))], made)
        elif len(shape) < 6:
            axis = int(self.random.integers(len(shape) + 1))
            made = (*shape[:axis], 1, *shape[axis:])
            self._node("Unsqueeze", [x, self._array(np.array([axis], np.int64))], made)

    def _along(self, x: str, shape: tuple[int, ...]) -> None:
        axis = int(self.random.integers(len(shape)))
        self._node(str(self.random.choice(["Softmax", "LogSoftmax"])), [x], shape, axis=axis)

    def _pad(self, x: str, shape: tuple[int, ...]) -> None:
        ends = self.random.integers(0, 2, (2, len(shape)))
        if prod(shape) < 1000 and ends.any():
            made = tuple(int(n) for n in shape + ends.sum(0))
            self._node("Pad", [x, self._array(ends.reshape(-1).astype(np.int64))], made)

    def _matrix(self, x: str, shape: tuple[int, ...]) -> None:
        if len(shape) > 1:
            made = self._floats((shape[-1], 3))
            self._node("MatMul", [x, made], (*shape[:-1], 3))

    def _conv(self, x: str, shape: tuple[int, ...]) -> None:
        if not 3 <= len(shape) <= 4:
            return
        kernel = tuple(min(n, 2) for n in shape[2:])
        spatial = tuple(n - k + 1 for n, k in zip(shape[2:], kernel, strict=True))
        if self.random.random() < 0.3:
            made = (*shape[:2], *spatial)
            self._node("MaxPool", [x], made, kernel_shape=kernel)
            return
        made = (shape[0], 4, *spatial)
        y = self._node("Conv", [x, self._floats((4, shape[1], *kernel))], made)
        if self.random.random() < 0.5:
            self._node("Add", [y, self._floats((4, *(1,) * len(kernel)))], made)

    def _flat(self, x: str, shape: tuple[int, ...]) -> None:
        if len(shape) < 3:
            return
        count = prod(shape[1:])
        y = self._node("Flatten", [x], (shape[0], count), axis=1)
        if self.random.random() < 0.5:
            y = self._node("Add", [y, self._floats((count,))], (shape[0], count))
        y = self._node("Gemm", [y, self._floats((count, 12))], (shape[0], 12))
        if self.random.random() < 0.5:
            wanted = self._array(np.array([shape[0], 2, 3, 2], np.int64))
            self._node("Reshape", [y, wanted], (shape[0], 2, 3, 2))
