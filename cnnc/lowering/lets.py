"""What one statement needs to be computed before it, under names that the kernel does not use."""

from dataclasses import dataclass, field

from cnnc.loop.expr import Const, Expr, Local
from cnnc.loop.kernel import Alloc, For, Kernel, Let, walk


class Names:
    """Names that the kernel does not use yet."""

    def __init__(self, used: set[str]) -> None:
        self._used = used
        self._counts: dict[str, int] = {}

    def fresh(self, name: str) -> str:
        """The name itself or with a number."""
        candidate = name
        while candidate in self._used:
            self._counts[name] = self._counts.get(name, 0) + 1
            candidate = f"{name}_{self._counts[name]}"
        self._used.add(candidate)
        return candidate


@dataclass(slots=True)
class Scope:
    """What one statement needs to be computed before it."""

    names: Names
    lets: list[Let] = field(default_factory=list)

    def let(self, name: str, value: Expr) -> Expr:
        """A name for a value; names and numbers stay as they are."""
        if isinstance(value, Local | Const):
            return value
        fresh = self.names.fresh(name)
        self.lets.append(Let(fresh, value))
        return Local(fresh, value.dtype, value.lanes)


def names_in(kernel: Kernel) -> set[str]:
    """Every name the kernel uses."""
    names = {param.name for param in kernel.params}
    for stmt in walk(kernel.body):
        match stmt:
            case For(var):
                names.add(var)
            case Alloc(buffer):
                names.add(buffer.name)
            case Let(name, _):
                names.add(name)
    return names
