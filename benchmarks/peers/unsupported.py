"""What a contender cannot take."""

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:  # runtimes that read files need no cnnc in their processes
    from cnnc.ir.graph import Node


class UnsupportedError(Exception):
    """A network that a contender cannot be given, and why: it is left out, and said so."""

    @classmethod
    def operator(cls, node: "Node", who: str) -> Self:
        """The error for an operator that nothing is written for."""
        return cls(f"{who} knows no `{node.op.label}` (`{node.name}`)")
