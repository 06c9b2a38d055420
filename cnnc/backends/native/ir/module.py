"""Modules, functions and blocks of LLVM IR, and how they print."""

from cnnc.backends.native.ir.types import FunctionType, PointerType, Type, Value


class Module:
    """What LLVM reads: declarations and definitions."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.triple = ""
        self.data_layout = ""
        self.globals: dict[str, Function] = {}

    def __str__(self) -> str:
        head = [f'source_filename = "{_escaped(self.name)}"']
        head += [f'target triple = "{self.triple}"', f'target datalayout = "{self.data_layout}"']
        return "\n".join([*head, *(function.text() for function in self.globals.values()), ""])


class Function(Value):
    """A function of a module; a declaration until it has a block.

    Without a `linkage` other objects see it; one that is `internal` they do not.
    """

    __slots__ = ("_count", "args", "attributes", "blocks", "kind", "linkage", "module")

    def __init__(self, module: Module, type: FunctionType, name: str) -> None:
        super().__init__(PointerType(), f'@"{_escaped(name)}"')
        self.module = module
        self.kind = type
        self.args = tuple(Value(each, f"%a{i}") for i, each in enumerate(type.arguments))
        self.attributes: set[str] = set()
        self.linkage = ""
        self.blocks: list[Block] = []
        self._count = 0
        module.globals[name] = self

    @property
    def may_store(self) -> bool:
        """Whether a call may change memory: of LLVM's own functions those do that are named so."""
        stores = ("store", "scatter", "memset", "memcpy", "memmove")
        return not self.name.startswith('@"llvm.') or any(each in self.name for each in stores)

    def append_basic_block(self, name: str) -> "Block":
        """A new block at the end."""
        block = Block(self, f"{name}.{len(self.blocks)}")
        self.blocks.append(block)
        return block

    def fresh(self) -> str:
        """A name for a value."""
        self._count += 1
        return f"%v{self._count}"

    def text(self) -> str:
        """The declaration or definition."""
        if not self.blocks:
            kinds = ", ".join(each.type.text for each in self.args)
            return f"declare {self.kind.result.text} {self.name}({kinds})"
        arguments = ", ".join(f"{each.type.text} {each.name}" for each in self.args)
        linkage = f"{self.linkage} " if self.linkage else ""
        head = f"define {linkage}{self.kind.result.text} {self.name}({arguments})"
        lines = [" ".join([head, *sorted(self.attributes), "{"])]
        for block in self.blocks:
            lines.append(f"{block.name}:")
            lines += map(str, block.lines)
        return "\n".join([*lines, "}"])


class Block:
    """Instructions without a jump between them.

    `known` has the values of those that depend on their operands alone, by their text; `loaded`
    those of loads since something was stored.
    """

    __slots__ = ("function", "known", "lines", "loaded", "name")

    def __init__(self, function: Function, name: str) -> None:
        self.function = function
        self.name = name
        self.lines: list[str | Phi] = []
        self.known: dict[str, Value] = {}
        self.loaded: dict[str, Value] = {}


class Phi(Value):
    """A value that depends on where control came from; prints as its instruction."""

    __slots__ = ("_incoming",)

    def __init__(self, type: Type, name: str) -> None:
        super().__init__(type, name)
        self._incoming: list[str] = []

    def add_incoming(self, value: Value, block: Block) -> None:
        """The value for control that comes from a block."""
        self._incoming.append(f"[ {value.name}, %{block.name} ]")

    def __str__(self) -> str:
        return f"{self.name} = phi {self.type.text} {', '.join(self._incoming)}"


def _escaped(name: str) -> str:
    """A name between quotation marks."""
    return name.replace("\\", "\\5C").replace('"', "\\22")
