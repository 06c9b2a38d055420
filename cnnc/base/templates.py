"""Templates filled in: Python decides, a template types."""

from functools import cache
from typing import TYPE_CHECKING

from cnnc.base.resources import read_resource

if TYPE_CHECKING:
    from jinja2 import Template


def fill(name: str, view: object) -> str:
    """The template `name`, a path in `templates` without `.j2`, where `k` is the view.

    An undefined name in it is an error.
    """
    return _template(name).render(k=view)


@cache
def _template(name: str) -> "Template":
    # not above: most of what is done needs no templates
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(read_resource("templates", f"{name}.j2"))
