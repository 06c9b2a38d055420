"""Who reads what in a flat net, and where branches begin that meet again."""

from collections import Counter
from collections.abc import Mapping
from functools import cached_property

from cnnc.onnx.flat import FlatNet, Stage


class Topology:
    """Who reads what, and what all paths to a stage go through."""

    def __init__(self, net: FlatNet) -> None:
        self.net = net
        self.stages: Mapping[str, Stage] = {stage.name: stage for stage in net.stages}
        self.place = {stage.name: place for place, stage in enumerate(net.stages)}

    def flowing(self, stage: Stage) -> list[str]:
        """The operands that are no tensors of the weights file."""
        return [
            name for name in stage.operands if isinstance(name, str) and not self.is_tensor(name)
        ]

    def is_tensor(self, name: str) -> bool:
        """Whether a value belongs to the weights file."""
        return name in self.stages and self.stages[name].op == "tensor"

    @cached_property
    def readers(self) -> Mapping[str, list[str]]:
        """The stages that read a value, once each."""
        found: dict[str, list[str]] = {each.name: [] for each in self.net.inputs}
        found |= {name: [] for name in self.stages}
        for stage in self.net.stages:
            for name in dict.fromkeys(stage.operands):
                if isinstance(name, str):
                    found[name].append(stage.name)
        return found

    @cached_property
    def dominators(self) -> Mapping[str, tuple[str | None, int]]:
        """For each value, the last one that all paths to it go through, and how many there are."""
        found: dict[str, tuple[str | None, int]] = {
            each.name: (None, 0) for each in self.net.inputs
        }
        for stage in self.net.stages:
            common: str | None = None
            for position, name in enumerate(self.flowing(stage)):
                common = name if position == 0 else self._meet(common, name, found)
            depth = 0 if common is None else found[common][1] + 1
            found[stage.name] = (common, depth)
        return found

    def _meet(
        self, one: str | None, two: str | None, found: Mapping[str, tuple[str | None, int]]
    ) -> str | None:
        while one != two:
            if one is None or two is None:
                return None
            if found[one][1] >= found[two][1]:
                one = found[one][0]
            else:
                two = found[two][0]
        return one

    def region(self, stage: Stage) -> tuple[str, set[str]] | None:
        """Where the branches of a join began, and what lies between; None if they leave it."""
        start = self.dominators[stage.name][0]
        flowing = self.flowing(stage)
        if start is None or len(flowing) < 2:
            return None
        inside: set[str] = set()
        stack = [name for name in flowing if name != start]
        while stack:
            name = stack.pop()
            if name in inside:
                continue
            inside.add(name)
            stack += [each for each in self.flowing(self.stages[name]) if each != start]
        for name in inside:
            if any(each not in inside and each != stage.name for each in self.readers[name]):
                return None
        return start, inside

    @cached_property
    def regions(self) -> Mapping[str, tuple[str, set[str]]]:
        """The joins whose branches began together."""
        found = {stage.name: self.region(stage) for stage in self.net.stages}
        return {name: region for name, region in found.items() if region is not None}

    def joins(self, bound: set[str]) -> Mapping[str, str]:
        """The joins that can be written as such, and where their branches begin."""
        return {name: start for name, (start, inside) in self.regions.items() if not inside & bound}

    def loose(self, bound: set[str]) -> set[str]:
        """Values that several stages read and no join takes in: they need names."""
        joins = self.joins(bound)
        held: dict[str, set[str]] = {}
        for name, start in joins.items():
            held.setdefault(start, set()).update(self.regions[name][1], {name})
        found = set()
        for name, readers in self.readers.items():
            if name in bound or len(readers) < 2 or self.is_tensor(name):
                continue
            if not any(
                set(readers) <= self.regions[join][1] | {join}
                for join, start in joins.items()
                if start == name
            ):
                found.add(name)
        return found | self._shared_tensors(bound)

    def _shared_tensors(self, bound: set[str]) -> set[str]:
        """Tensors of the weights file that are read more than once, by one stage or several."""
        reads = Counter(name for stage in self.net.stages for name in stage.operands)
        return {
            str(name)
            for name, count in reads.items()
            if count > 1 and self.is_tensor(str(name)) and name not in bound
        }
