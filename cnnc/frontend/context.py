"""Where an expression stands, and what the parts of the evaluator ask of the whole."""

from dataclasses import replace
from typing import Protocol

from cnnc.base.record import record
from cnnc.frontend import ast
from cnnc.frontend.scope import Path, Scope
from cnnc.frontend.state import BuildState
from cnnc.frontend.values import Flow, Value


@record
class Context:
    """Names in sight, where instances hang, and what `in` is (None: nothing).

    `in` is what flows into the braces around the text; `if` and `repeat` begin at their keyword.
    """

    scope: Scope
    path: Path
    here: Flow | None = None

    def at(self, path: Path) -> "Context":
        """The same, with instances elsewhere."""
        return replace(self, path=path)

    def unnamed(self) -> "Context":
        """The same, where no name is meant for the next instance."""
        return replace(self, path=self.path.unnamed())

    def feeding(self, here: Flow) -> "Context":
        """The same, with `here` flowing in."""
        return replace(self, here=here)


class Evaluates(Protocol):
    """The evaluator: an expression is a plain value, or it flows (see evaluate.py)."""

    @property
    def state(self) -> BuildState:
        """What the build shares."""
        ...

    def value(self, expression: ast.Expression, context: Context) -> Value:
        """The value of an argument, operand or condition; a stage stays a word."""
        ...

    def flow(self, expression: ast.Expression, context: Context) -> Value:
        """The value of a pipeline; a stage at its start receives `in`."""
        ...
