"""Filling in the templates of this backend."""

from functools import cache

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template

from cnnc.base.resources import read_resource


def render(name: str, k: object) -> str:
    """`templates/cuda/<name>.j2` filled in with its one view; unknown names are errors.

    What a template includes sees the same view."""
    return _template(name).render(k=k)


@cache
def _template(name: str) -> Template:
    return _environment().get_template(name)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FunctionLoader(lambda name: read_resource("templates", f"cuda/{name}.j2")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
