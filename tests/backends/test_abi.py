"""The C interface: names, sizes, and the hash that weights are checked against."""

from dataclasses import replace

import pytest

from cnnc import UserError, driver, load_text
from cnnc.backends.abi import HEAD_BYTES, MAGIC, Abi, Status
from cnnc.frontend.settings import Batch
from cnnc.loop.kernel import Program

NET = """cnn 1
net small {{
  input {name}: f32[N, 3, 5]
  output y = {name} -> conv({channels}, 3) -> relu
  weights he(seed = {seed})
}}
"""


def program(
    name: str = "x", *, channels: int = 4, seed: int = 0, batch: Batch = 1, text: str = ""
) -> Program:
    """The program of NET for AVX2."""
    source = text or NET.format(name=name, channels=channels, seed=seed)
    return driver.plan(load_text(source, batch=batch).graph, driver.find_target("x86-64-v3"))[
        0
    ].program


def test_the_interface_of_a_net() -> None:
    """Names, shapes, strides and sizes."""
    made = program()
    abi = Abi.of(made)
    x, y = abi.ends
    assert (abi.name, abi.macro) == ("small", "SMALL")
    assert (x.c_name, x.shape, x.strides, x.size) == ("x", (1, 3, 5), (15, 5, 1), 15)
    assert (x.declaration, y.declaration) == ("const float *x", "float *y")
    assert abi.run_parameters[0] == "const small_weights *weights"
    assert abi.weights_bytes >= HEAD_BYTES + made.weights_bytes
    assert abi.arena_bytes >= made.arena_bytes + made.scratch_bytes


@pytest.mark.parametrize("word", ["arena", "float", "class", "thread", "macs", "Float"])
def test_ends_are_never_called_what_c_cannot(word: str) -> None:
    """Words of C and C++, and of the interface itself, get an underscore."""
    (x,) = Abi.of(program(word)).inputs
    assert (x.name, x.c_name) == (word, f"{word}_")


def test_ends_differ_in_capitals() -> None:
    """Constants are named after them in capitals."""
    text = """cnn 1
net two {
  input a: f32[1, 3, 5]
  input A: f32[1, 3, 5]
  b = a + A -> conv(3, 3)
  output b
  output B = b -> relu
  weights he(seed = 0)
}
"""
    names = [end.c_name for end in Abi.of(program(text=text)).ends]
    assert len({name.upper() for name in names}) == 4
    assert names[0] == "a"


def test_the_hash_is_that_of_shapes_and_not_of_values() -> None:
    """Other weights fit, another width does not, nor another name of the file."""
    first = Abi.of(program())
    assert Abi.of(program(seed=5)).hash == first.hash
    assert Abi.of(program(channels=6)).hash != first.hash
    made = program()
    moved = tuple(
        replace(kernel, origin=replace(kernel.origin, place="elsewhere.cnn:1:1"))
        for kernel in made.kernels
    )
    assert Abi.of(replace(made, kernels=moved)).hash == first.hash


def test_the_head_of_weights() -> None:
    """Magic, hash and size, in so many bytes."""
    abi = Abi.of(program())
    assert len(abi.head) == HEAD_BYTES
    assert abi.head[:8] == MAGIC
    assert int.from_bytes(abi.head[8:16], "little") == abi.hash
    assert int.from_bytes(abi.head[16:24], "little") == abi.weights_bytes


def test_versions_of_a_net_share_an_arena() -> None:
    """One behind the other in the weights; the arena is that of the largest."""
    text = NET.format(name="x", channels=4, seed=0)
    graph = load_text(text).graph
    programs = [
        driver.plan(graph, driver.find_target(name))[0].program for name in ("x86-64", "x86-64-v4")
    ]
    abi = Abi.of_versions(programs)
    assert len(abi.payloads) == 2
    assert abi.payloads[0] == HEAD_BYTES
    assert abi.payloads[1] - HEAD_BYTES >= programs[0].weights_bytes
    assert abi.weights_bytes - abi.payloads[1] >= programs[1].weights_bytes
    assert abi.arena_bytes == max(Abi.of(each).arena_bytes for each in programs)


def test_a_range_of_samples_is_an_argument() -> None:
    """A net for any number of samples asks for it behind the arena."""
    abi = Abi.of(program(batch=(1, 4)))
    assert abi.most_samples == 4
    assert abi.run_parameters[2] == "size_t samples"


@pytest.mark.parametrize("name", ["", "1net", "a-b", "a b", "ä", "a" * 61, "_x", "math", "stdio"])
def test_names_that_no_symbol_has(name: str) -> None:
    """They are refused before anything is made."""
    with pytest.raises(UserError, match="no output in C"):
        Abi.of(program(), name)


def test_every_status_has_a_text() -> None:
    """Texts name the net's own constants."""
    abi = Abi.of(program())
    assert all(status.text for status in Status)
    assert "SMALL_WEIGHTS_BYTES" in abi.strerror(Status.WRONG_SIZE)
    assert abi.status(Status.OK) == "SMALL_OK"
