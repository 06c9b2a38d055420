"""The backend `c` as tests use it: where there is a compiler, and fast to compile."""

from cnnc.backends.c.backend import CBackend, CExecutable
from cnnc.base.store import Store
from cnnc.base.target import Target
from cnnc.loop.kernel import Program
from tests.tools import require_tool


class Memory:
    """Keeps everything for as long as the process lives."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        """See Store."""
        return self._kept.get(key)

    def put(self, key: str, data: bytes) -> None:
        """See Store."""
        self._kept[key] = data


class Compiled(CBackend):
    """See Backend; equal programs are compiled once."""

    def __init__(self) -> None:
        super().__init__(level=1)
        self._memory = Memory()

    def compile(
        self, program: Program, target: Target, threads: int, store: Store | None = None
    ) -> CExecutable:
        """See Backend."""
        require_tool("gcc", package="gcc")
        return super().compile(program, target, threads, store or self._memory)


C = Compiled()
