"""Loading from Python: what a model tells, and what is refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest

import cnnc

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "digits" / "digits.cnn"


def test_a_model_describes_itself() -> None:
    """Shapes, parameters and MACs of the digits example, counted by hand."""
    model = cnnc.load(DIGITS)
    assert model.name == "digits"
    assert model.inputs == {"image": (1, 1, 8, 8)}
    assert model.outputs == {"logits": (1, 10), "prob": (1, 10)}
    assert model.parameters == 24_378
    stem = model.layers[0]
    assert (stem.name, stem.shape, stem.parameters) == ("stem.conv", (1, 16, 8, 8), 16 * 9)
    assert stem.macs == 16 * 8 * 8 * 9
    assert model.macs == sum(layer.macs for layer in model.layers)
    assert model.params == {"width": "16"}
    assert str(model.layers).count("\n") == len(model.layers) + 3


def test_settings_and_batch() -> None:
    """They change shapes; the weights no longer fit, so they are left out."""
    model = cnnc.load(str(DIGITS), set={"width": 8}, batch=5, weights=False)
    assert model.inputs == {"image": (5, 1, 8, 8)}
    assert model.layers[0].shape == (5, 8, 8, 8)
    assert model.batch == 5


def test_without_weights_nothing_runs() -> None:
    """UserError with what to do about it."""
    model = cnnc.load(DIGITS, weights=False)
    with pytest.raises(cnnc.UserError) as caught:
        model.compile()
    assert caught.value.diagnostics[0].code == "E0408"
    assert caught.value.diagnostics[0].help == "load it with weights"


def test_the_batch_can_change_later() -> None:
    """`with_batch` rebuilds the network; `compile` does so on its own."""
    model = cnnc.load(DIGITS)
    assert model.with_batch(3).batch == 3
    assert model.compile(batch=4, backend="reference").batch == 4


def test_errors_are_user_errors() -> None:
    """All of a file's errors at once, with codes and places."""
    with pytest.raises(cnnc.UserError) as caught:
        cnnc.load_text(
            "cnn 1\nnet n {\n  input x: f32[N, 3]\n  output y = x -> rleu -> desne(3)\n}\n"
        )
    codes = [each.code for each in caught.value.diagnostics]
    assert "E0202" in codes
    with pytest.raises(cnnc.UserError, match="E0701"):
        cnnc.load("no_such_file.cnn")


WRONG = """cnn 1
block b() { conv(%s) }
net n {
  input x: f32[N, 3, 8, 8]
  a = x -> conv(widht, 3)
  output y = x -> conv(4, 30)
  output z = x -> conv(4, 3, padd = 1)
  output f = x -> b %s
  assert f.shape == [N, 7]
  weights "none.npz"
}
"""


@pytest.mark.parametrize(
    ("parts", "codes"),
    [
        (("4, 3 @ 5", '-> relu "'), ["E0102", "E0102"]),
        (("4 -> 3", "+ 1 -> relu"), ["E0104", "E0104"]),
        (("4, 3", ""), ["E0201", "E0302", "E0203", "E0304"]),
    ],
)
def test_each_step_reports_all_it_finds(parts: tuple[str, str], codes: list[str]) -> None:
    """docs/language.md lists the steps: characters, items, the net, weights."""
    with pytest.raises(cnnc.UserError) as caught:
        cnnc.load_text(WRONG % parts)
    assert [each.code for each in caught.value.diagnostics] == codes


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"backend": "nativ"}, "E0801"),
        ({"target": "x68-64"}, "E0801"),
        ({"backend": None}, "E0801"),
        ({"target": 3}, "E0801"),
        ({"threads": 0}, "E0803"),
        ({"threads": 10**6}, "E0803"),
        ({"batch": 0}, "E0206"),
    ],
)
def test_options_are_checked(options: dict[str, str | int | None], code: str) -> None:
    """A wrong option is a user's error."""
    with pytest.raises(cnnc.UserError, match=code):
        cnnc.load(DIGITS).compile(**options)  # type: ignore[arg-type]


def test_what_is_of_another_kind_is_said(tmp_path: Path) -> None:
    """Rather than where it first makes trouble."""
    model = cnnc.load(DIGITS)
    for code, message, call in (
        ("E0206", "a range of two", lambda: cnnc.load(DIGITS, batch=(1, 2, 3))),  # type: ignore[arg-type]
        ("E0206", "a range of two", lambda: model.compile(batch=(1,))),  # type: ignore[arg-type]
        ("E0803", "a seed is an integer from 0 on, not -1", lambda: model.analyze(seed=-1)),
        ("E0803", "a seed is an integer from 0 on, not -1", lambda: cnnc.diff(model, seed=-1)),
        ("E0803", "has no position 1.5, 2", lambda: model.analyze(position=(1.5, 2))),  # type: ignore[arg-type]
    ):
        with pytest.raises(cnnc.UserError, match=f"{code}.*{message}"):
            call()
    for wrong, message in (
        ({"target": 3}, "the target is a text, not 3"),
        ({"name": 3}, "the name is a text, not 3"),
        ({"emit": [3]}, "a form is a text, not 3"),
        ({"emit": "project", "seed": "x"}, "a seed is an integer from 0 on, not 'x'"),
    ):
        with pytest.raises(cnnc.UserError, match=f"E0803.*{message}"):
            cnnc.build(model, tmp_path / "no", **wrong)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_processor_of_a_target() -> None:
    """Beside the target, or in one word with it; both are too much."""
    model = cnnc.load(DIGITS)
    net = model.compile("x86-64", "reference", cpu="nehalem")
    assert net.options == model.compile("x86-64:nehalem", "reference").options
    for target, cpu, message in (
        ("x86-64:nehalem", "haswell", "E0803.*names a processor too"),
        ("x86-64-v3", "nehalem", "E0803.*contradicts the target `x86-64-v3`"),
        ("x86-64", 3, "E0801.*the cpu is a name, not 3"),
        ("x86-64", "nehalen", "E0801.*did you mean `nehalem`"),
    ):
        with pytest.raises(cnnc.UserError, match=f"(?s){message}"):
            model.compile(target, cpu=cpu)  # type: ignore[arg-type]
        with pytest.raises(cnnc.UserError, match=f"(?s){message}"):
            cnnc.build(model, "no", target=target, cpu=cpu)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["c", "interp", "reference"])
def test_a_backend_for_a_target_is_told_apart(name: str) -> None:
    """The first argument is the target."""
    with pytest.raises(cnnc.UserError) as caught:
        cnnc.load(DIGITS).compile(name)
    help = caught.value.diagnostics[0].help
    assert help == f'`{name}` is a backend: `backend="{name}"`, of commands `--backend {name}`'
    with pytest.raises(cnnc.UserError, match='`x86-64-v3` is a target: `target="x86-64-v3"`'):
        cnnc.load(DIGITS).compile(backend="x86-64-v3")


def test_a_model_pickles() -> None:
    """Graph, weights and checks survive, and recompiling gives the same."""
    model = cnnc.load(DIGITS, batch=2)
    copy = pickle.loads(pickle.dumps(model))
    assert copy.layers == model.layers
    assert copy.batch == 2
    x = np.linspace(0, 1, 128, dtype=np.float32).reshape(2, 1, 8, 8)
    np.testing.assert_array_equal(copy.reference(x)["prob"], model.reference(x)["prob"])
    assert len(copy.checks()) == 1
    assert copy.with_batch(3).batch == 3


def test_a_deep_network_pickles() -> None:
    """Thousands of layers: no recursion over the graph."""
    text = """cnn 1
    net deep { input x: f32[N, 2]  output y = x -> repeat(3000) { relu }  weights he(seed = 0) }
    """
    model = cnnc.load_text(text)
    assert len(pickle.loads(pickle.dumps(model)).layers) == 3000


def test_importing_is_light() -> None:
    """LLVM is loaded by the first compile, not by the import."""
    import subprocess
    import sys

    code = "import sys, cnnc; print([m for m in ('llvmlite', 'PIL', 'rich') if m in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert found.stdout.strip() == "[]"
