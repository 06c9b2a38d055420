"""Tables that fill themselves: functions by the names of what they are for."""

import importlib
import pkgutil
from collections.abc import Callable
from threading import RLock
from typing import Generic, TypeVar

Function = TypeVar("Function")


class Registry(Generic[Function]):
    """Functions by name, registered by the modules of a package, which the first question imports.

    ```python
    IMPORTERS: Registry[Importer] = Registry("cnnc.onnx.importers")

    @IMPORTERS.register("Relu")
    def relu(...): ...

    IMPORTERS.find("Relu")
    ```
    """

    def __init__(self, package: str) -> None:
        self._package = package
        self._functions: dict[str, Function] = {}
        self._is_full = False
        self._lock = RLock()

    def register(self, *names: str) -> Callable[[Function], Function]:
        """Make a function the one for these names; ValueError where one of them has another."""

        def add(function: Function) -> Function:
            for name in names:
                if name in self._functions:
                    raise ValueError(f"{self._package} has `{name}` twice")
                self._functions[name] = function
            return function

        return add

    def find(self, name: str) -> Function | None:
        """The function for a name, None where there is none."""
        self._fill()
        return self._functions.get(name)

    @property
    def names(self) -> list[str]:
        """All names, sorted."""
        self._fill()
        return sorted(self._functions)

    def _fill(self) -> None:
        if self._is_full:
            return
        with self._lock:
            if not self._is_full:
                package = importlib.import_module(self._package)
                for module in pkgutil.walk_packages(package.__path__, f"{self._package}."):
                    importlib.import_module(module.name)
                self._is_full = True
