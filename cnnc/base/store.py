"""Where what was made is kept."""

from typing import Protocol


class Store(Protocol):
    """Keeps what was made from a recipe, for whoever meets the same recipe again."""

    def get(self, key: str) -> bytes | None:
        """What was put under the key, or None."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Keep the data, if there is room."""
        ...
