"""Kernels compiled while others are lowered: the same code, made once."""

import pytest

import cnnc
from cnnc import driver
from cnnc.backends.native import objects
from cnnc.backends.native.compile import is_vectorised
from cnnc.loop.kernel import Kernel
from tests.backends.test_native import RESIDUAL

HOST = driver.find_target("native")


def test_kernels_are_seen_as_they_are_made() -> None:
    """Those of the program, in order, and each once."""
    graph, _ = driver.prepare(cnnc.load_text(RESIDUAL).graph, HOST)
    seen: list[Kernel] = []
    program = driver.lower_graph(graph, HOST, watch=seen.append).program
    assert tuple(seen) == program.kernels


def test_code_is_the_same_and_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All modules of the program, each compiled once."""
    monkeypatch.setenv("CNNC_CACHE", "off")
    made: list[tuple[str, object]] = []
    compile_module = objects.compile_module

    def spy(source: str, *rest: object, **how: object) -> bytes:
        made.append((source, how["vectorised"]))
        return compile_module(source, *rest, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(objects, "compile_module", spy)
    net = cnnc.load_text(RESIDUAL).compile()
    program = net.lowered.program
    recipes = [*objects.recipes(program, HOST)]
    assert sorted(made) == sorted((recipe.source(), recipe.is_vectorised) for recipe in recipes)
    are = [*(is_vectorised(kernel, HOST) for kernel in program.kernels), False]
    assert [recipe.is_vectorised for recipe in recipes] == are
    image = driver.machine_code(net.executable)
    assert image is not None
    assert image.objects == objects.compile_program(program, HOST)


def test_a_failure_comes_to_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before, and in the thread that asks."""
    program = driver.plan(cnnc.load_text(RESIDUAL).graph, HOST)[0].program
    key = objects.kernel_recipe(program.kernels[0], HOST).key

    def fail(*rest: object, **how: object) -> bytes:
        raise RuntimeError("no code")

    monkeypatch.setattr(objects, "compile_module", fail)
    with objects.Ahead(HOST, None) as ahead:
        ahead.begin(program.kernels[0])
        with pytest.raises(RuntimeError, match="no code"):
            ahead.get(key)
        assert ahead.get("0" * 64) is None
