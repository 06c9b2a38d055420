"""Templates filled in: Python decides, a template types."""

from cnnc.base.resources import read_resource


def fill(name: str, view: object) -> str:
    """The template `name`, a path in `templates` without `.j2`, where `k` is the view.

    An undefined name in it is an error.
    """
    # not above: most of what is done needs no templates
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(read_resource("templates", f"{name}.j2")).render(k=view)
