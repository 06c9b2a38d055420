"""Arguments of a block → the scope its body starts with."""

from collections.abc import Iterator, Sequence

from cnnc.base.errors import did_you_mean
from cnnc.frontend import ast
from cnnc.frontend.context import Context, Evaluates
from cnnc.frontend.scope import Path, Scope
from cnnc.frontend.values import Given, count_of


def bind_formals(
    ev: Evaluates, block: ast.Block, given: Sequence[Given], name: ast.Name
) -> Scope | None:
    """A scope with every parameter of the block; None after reporting what does not fit.

    Defaults see the params of the block's file and the parameters before them, never the caller's
    names.
    """
    scope = Scope(ev.state.modules.of(block.span.source).scope)
    chosen: dict[str, Given] = {}
    is_good = True
    positional = iter(block.formals)
    for each in given:
        target = _formal_of(ev, block, each, positional)
        if target is None or target in chosen:
            if target is not None:
                ev.state.error("E0205", f"`{target}` is given twice", each.span)
            is_good = False
        else:
            chosen[target] = each
    for formal in block.formals:
        key = formal.name.text
        if key in chosen:
            scope.bind(key, chosen[key].value, formal.name.span)
        elif formal.default is not None:
            value = ev.value(formal.default, Context(scope, Path()))
            scope.bind(key, value, formal.name.span)
        elif is_good:
            message = f"`{block.name.text}` needs `{key}`"
            ev.state.error("E0204", message, name.span, help=_usage(block))
            is_good = False
    return Scope(scope) if is_good else None


def _formal_of(
    ev: Evaluates, block: ast.Block, given: Given, free: Iterator[ast.Formal]
) -> str | None:
    names = [formal.name.text for formal in block.formals]
    if given.name is None:
        for formal in free:
            return formal.name.text
        taken = count_of(len(names), "argument")
        message = f"`{block.name.text}` takes {taken}, this is one too many"
        ev.state.error("E0205", message, given.span, help=_usage(block))
        return None
    if given.name.text in names:
        return given.name.text
    message = f"`{block.name.text}` has no parameter `{given.name.text}`"
    help = did_you_mean(given.name.text, names) or _usage(block)
    ev.state.error("E0203", message, given.name.span, help=help)
    return None


def _usage(block: ast.Block) -> str:
    """How the block is called: `residual(channels, stride = 1)`."""
    return f"it is `{block.name.text}({', '.join(each.span.excerpt for each in block.formals)})`"
