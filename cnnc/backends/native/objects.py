"""Object code of programs: each module made from its recipe, or found under the recipe's key.

The code of a kernel depends on its loops, on the target and on this compiler, not on weights: so
its printed loops stand for it, and networks that differ in weights alone share all their code.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from types import TracebackType

from cnnc.backends.native.compile import (
    Form,
    compile_module,
    is_vectorised,
    kernel_source,
    program_source,
)
from cnnc.backends.native.host import host_target
from cnnc.backends.native.keys import code_key
from cnnc.backends.native.runtime import runtime
from cnnc.base.record import record
from cnnc.base.store import Store
from cnnc.base.target import Target
from cnnc.loop.kernel import Kernel, Origin, Program
from cnnc.loop.text import print_kernel


@record
class Recipe:
    """One module: its key, what writes its LLVM IR, and whether all it stores are vectors."""

    key: str
    source: Callable[[], str]
    is_vectorised: bool = False

    def make(self, target: Target) -> Callable[[], bytes]:
        """What compiles it, in any thread; its LLVM IR is written now."""
        source = self.source()
        how = self.is_vectorised
        return lambda: compile_module(source, target, Form.OBJECT, vectorised=how)


def compile_program(
    program: Program, target: Target, store: Store | None = None
) -> tuple[bytes, ...]:
    """Object files of all modules, made side by side where the store has none.

    LLVM works on the first while the next is written. Raises RuntimeError with LLVM's message if a
    module is invalid.
    """
    known: dict[str, bytes] = {}
    running: dict[str, Future[bytes]] = {}
    wanted = list(recipes(program, target))
    with ThreadPoolExecutor(host_target().cores) as pool:
        for recipe in wanted[::-1]:  # that of the steps first: no store has begun it
            found = store.get(recipe.key) if store else None
            if found is None:
                running[recipe.key] = pool.submit(recipe.make(target))
            else:
                known[recipe.key] = found
    for key, future in running.items():
        known[key] = future.result()
        if store:
            store.put(key, known[key])
    return tuple(known[recipe.key] for recipe in wanted)


def recipes(program: Program, target: Target) -> Iterator[Recipe]:
    """One for each kernel, and a last one for the function that runs all steps."""
    for kernel in program.kernels:
        yield kernel_recipe(kernel, target)
    # Writing this one takes no time, so its own text is its recipe.
    entry = program_source(program, target)
    yield Recipe(code_key(entry, target), lambda: entry)


def kernel_recipe(kernel: Kernel, target: Target) -> Recipe:
    """That of one kernel."""
    text = print_kernel(replace(kernel, origin=Origin("", "")))
    source = partial(kernel_source, kernel, target)
    return Recipe(code_key(text, target), source, is_vectorised(kernel, target))


class Ahead:
    """A store in front of another one, which has the code of what it was told of before.

    Whoever gets what is still being made waits for it. LLVM runs in other threads, beside Python.
    """

    def __init__(self, target: Target, behind: Store | None) -> None:
        self._target = target
        self._behind = behind
        self._running: dict[str, Future[bytes]] = {}
        self._pool = ThreadPoolExecutor(host_target().cores)
        self._pool.submit(runtime, behind)  # whoever needs it waits for it, and for its error

    def __enter__(self) -> "Ahead":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def begin(self, kernel: Kernel) -> None:
        """Compile the kernel, unless the store behind has its code."""
        recipe = kernel_recipe(kernel, self._target)
        if self._behind is None or self._behind.get(recipe.key) is None:
            self._running[recipe.key] = self._pool.submit(recipe.make(self._target))

    def get(self, key: str) -> bytes | None:
        """See Store; RuntimeError with LLVM's message where the module was invalid."""
        if key not in self._running:
            return self._behind.get(key) if self._behind else None
        code = self._running.pop(key).result()
        self.put(key, code)
        return code

    def put(self, key: str, data: bytes) -> None:
        """See Store."""
        if self._behind:
            self._behind.put(key, data)
