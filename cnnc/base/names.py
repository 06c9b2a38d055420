"""Names that nothing else has."""

from collections.abc import Container


def unused_name(wanted: str, taken: Container[str]) -> str:
    """The name, or it with the first number behind it that makes it new."""
    name, count = wanted, 0
    while name in taken:
        count += 1
        name = f"{wanted}_{count}"
    return name
