"""Object code of programs: each module made from its recipe, or found under the recipe's key.

The code of a kernel depends on its loops, on the target and on this compiler, not on weights: so
its printed loops stand for it, and networks that differ in weights alone share all their code.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from cnnc.backends.native.compile import Form, compile_module, kernel_source, program_source
from cnnc.backends.native.host import host_target
from cnnc.backends.native.keys import code_key
from cnnc.base.record import record
from cnnc.base.store import Store
from cnnc.base.target import Target
from cnnc.loop.kernel import Origin, Program
from cnnc.loop.text import print_kernel


@record
class Recipe:
    """One module: its key, and what writes its LLVM IR."""

    key: str
    source: Callable[[], str]


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
        for recipe in wanted:
            found = store.get(recipe.key) if store else None
            if found is None:
                source = recipe.source()
                running[recipe.key] = pool.submit(compile_module, source, target, Form.OBJECT)
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
        text = print_kernel(replace(kernel, origin=Origin("", "")))
        yield Recipe(code_key(text, target), partial(kernel_source, kernel, target))
    # Writing this one takes no time, so its own text is its recipe.
    entry = program_source(program, target)
    yield Recipe(code_key(entry, target), lambda: entry)
