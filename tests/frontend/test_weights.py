"""Weights: strictly bound from files, renamed, or drawn; check vectors."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from cnnc.base.errors import Diagnostic, UserError
from cnnc.base.source import SourceFile
from cnnc.frontend.load import Choices, LoadedNet, load, load_text
from cnnc.ir.evaluate import evaluate
from cnnc.ir.graph import Constant
from tests.frontend.helpers import net

Arrays = dict[str, NDArray[np.generic]]

PINNED = [0.2444189, -0.3936382, 0.42047462]
"""First values of `stem.weight` under he(seed = 0)."""


def arrays() -> Arrays:
    """What the net of `program` needs."""
    generator = np.random.default_rng(7)
    return {
        "stem.weight": generator.random((4, 3, 3, 3), np.float32),
        "stem.bias": generator.random(4, np.float32),
        "head.weight": generator.random((5, 4), np.float32),
        "head.bias": generator.random(5, np.float32),
    }


def program(clause: str, check: str = "") -> SourceFile:
    """A net with two layers and the given weights clause."""
    return SourceFile(
        "net.cnn",
        "cnn 1\nnet n {\n  input x: f32[N, 3, 8, 8]\n"
        "  stem = x -> conv(4, 3)\n"
        "  output y = stem -> pool(avg, global) -> flatten -> head: dense(5)\n"
        f"  weights {clause}\n  {check}\n}}\n",
    )


def write(path: Path, content: Mapping[str, NDArray[np.generic]]) -> None:
    """An npz or safetensors file, by its name."""
    if path.suffix == ".npz":
        np.savez(path, **content)  # type: ignore[arg-type]
    else:
        save_file(dict(content), path)


def bound(loaded: LoadedNet) -> Arrays:
    """Constants of the graph by name."""
    return {n.name: n.op.value for n in loaded.graph.nodes if isinstance(n.op, Constant)}


def problems(
    tmp_path: Path, content: Arrays, clause: str = '"w.safetensors"'
) -> tuple[Diagnostic, ...]:
    """What is wrong with these arrays as weights."""
    write(tmp_path / "w.safetensors", content)
    with pytest.raises(UserError) as caught:
        load_text(program(clause), tmp_path)
    return caught.value.diagnostics


@pytest.mark.parametrize("name", ["w.safetensors", "w.npz"])
def test_files_bind_by_name(tmp_path: Path, name: str) -> None:
    """Every parameter becomes a constant with the file's values."""
    write(tmp_path / name, arrays())
    found = bound(load_text(program(f'"{name}"'), tmp_path))
    assert found.keys() == arrays().keys()
    for key, value in arrays().items():
        np.testing.assert_array_equal(found[key], value)


def test_npz_in_any_order_and_byte_order(tmp_path: Path) -> None:
    """Column-major and big-endian arrays mean the same numbers; compressed files too."""
    turned = {
        name: np.asfortranarray(value).astype(value.dtype.newbyteorder(">"))
        for name, value in arrays().items()
    }
    np.savez_compressed(tmp_path / "w.npz", **turned)  # type: ignore[arg-type]
    found = bound(load_text(program('"w.npz"'), tmp_path))
    for key, value in arrays().items():
        np.testing.assert_array_equal(found[key], value)
        assert found[key].dtype == np.float32
        assert found[key].flags.c_contiguous


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    """Missing, left over, misshapen and of another type, each at its place."""
    content = arrays()
    content["stem.weigth"] = content.pop("stem.weight")
    content["head.weight"] = np.ascontiguousarray(content["head.weight"].T)
    content["head.bias"] = content["head.bias"].astype(np.float64)
    content["extra"] = np.zeros(3, np.float32)
    found = {(each.code, str(each.span)): each for each in problems(tmp_path, content)}
    missing = found["E0401", "net.cnn:4:15"]
    assert missing.label == "needs f32[4, 3, 3, 3]"
    assert missing.help is not None
    assert '"stem.weigth" => "stem.weight"' in missing.help
    turned = found["E0403", "net.cnn:5:60"]
    assert turned.label == "needs [5, 4]"
    assert turned.help == "the extents are the same in another order: is it transposed?"
    assert found["E0404", "net.cnn:5:60"].help == "convert the file to f32"
    unused = [each for each in problems(tmp_path, content) if each.code == "E0402"]
    assert {each.help for each in unused} == {
        "did you mean it for `stem.weight`?",
        'if it is not needed, drop it: { "extra" => drop }',
    }
    assert len(found) == 4


def test_a_file_for_another_net_is_short_work(tmp_path: Path) -> None:
    """Many leftovers are counted, not listed."""
    content: Arrays = {f"layer{i}": np.zeros(1, np.float32) for i in range(40)}
    found = problems(tmp_path, content)
    assert [each.code for each in found] == ["E0401"] * 4 + ["E0402"] * 12
    assert found[-1].notes == ("and 28 more like this",)


def test_renaming(tmp_path: Path) -> None:
    """Placeholders, stars and `drop`; names no rule matches stay."""
    content = arrays()
    renamed = {
        "model.features.0.weight": content["stem.weight"],
        "model.features.0.bias": content["stem.bias"],
        "fc.weight": content["head.weight"],
        "head.bias": content["head.bias"],
        "model.features.0.num_batches_tracked": np.zeros(1, np.float32),
    }
    write(tmp_path / "w.safetensors", renamed)
    rules = (
        '{ "*.num_batches_tracked" => drop, "model.features.0.*" => "stem.*" '
        '"fc.{what}" => "head.{what}" }'
    )
    found = bound(load_text(program(f'"w.safetensors" {rules}'), tmp_path))
    for key, value in content.items():
        np.testing.assert_array_equal(found[key], value)
    del renamed["model.features.0.num_batches_tracked"]  # there may be nothing to drop
    write(tmp_path / "w.safetensors", renamed)
    bound(load_text(program(f'"w.safetensors" {rules}'), tmp_path))


@pytest.mark.parametrize(
    ("rules", "part"),
    [
        ('"nothing.*" => "stem.*"', "renames nothing"),
        ('"stem.*" => "{i}.*"', "`{i}` of the target"),
        ('"stem.{a}" => "*"', "`*` of the target"),
        ('"{a}.{a}" => "x"', "stands twice"),
        ('"stem.*" => dorp', "`dorp` is no target"),
        ('"*a*b*c*d*e*f*g*h*i" => "x"', "at most 8"),
        ('"stem.*" => "same"', "would both be `same`"),
    ],
)
def test_bad_rules(tmp_path: Path, rules: str, part: str) -> None:
    """Rules are strict as well."""
    found = problems(tmp_path, arrays(), f'"w.safetensors" {{ {rules} }}')
    assert any(each.code == "E0405" and part in each.message for each in found)


def test_drawn_weights_depend_on_seed_and_path_only() -> None:
    """The same values whatever else is in the net; within the method's bound."""

    def weight(clause: str, more: str = "") -> NDArray[np.generic]:
        source = SourceFile(
            "net.cnn",
            "cnn 1\nnet n {\n  input x: f32[N, 3, 8, 8]\n"
            f"  {more}\n  output stem = x -> conv(4, 3)\n  weights {clause}\n}}\n",
        )
        return bound(load_text(source, None))["stem.weight"]

    first = weight("he(seed = 0)")
    more = "output other = x -> conv(9, 1) -> conv(3, 1)"
    np.testing.assert_array_equal(first, weight("he(seed = 0)", more))
    np.testing.assert_array_equal(first, weight("he"))
    assert not np.array_equal(first, weight("he(seed = 1)"))
    bound_he, bound_xavier = np.sqrt(6 / 27), np.sqrt(6 / (27 + 36))
    assert 0.9 * bound_he < np.abs(first).max() <= bound_he
    assert 0.9 * bound_xavier < np.abs(weight("xavier")).max() <= bound_xavier
    assert abs(float(np.mean(first))) < 0.1 * bound_he
    # Pinned: a build years from now must draw the same numbers.
    np.testing.assert_array_equal(
        first.flat[:3], np.array(PINNED, np.float32), err_msg=repr(first.flat[:3])
    )


def test_initial_values_of_other_parameters() -> None:
    """A drawn net computes something: batchnorm starts as the identity, biases at zero."""
    source = SourceFile(
        "net.cnn",
        "cnn 1\nnet n {\n  input x: f32[N, 3, 8]\n"
        "  output y = x -> batchnorm -> conv(2, 1)\n  weights he\n}\n",
    )
    found = bound(load_text(source, None))
    assert {name: set(found[f"y.batchnorm.{name}"].flat) for name in ("weight", "var")} == {
        "weight": {1.0},
        "var": {1.0},
    }
    for name in ("y.batchnorm.bias", "y.batchnorm.mean", "y.conv.bias"):
        assert not found[name].any()


def test_weights_may_be_left_out() -> None:
    """Without binding there are parameters, and no file is needed."""
    loaded = net('  output y = x -> conv(4, 3)\n  weights "nowhere.npz"\n  check "nowhere.npz"')
    assert not bound(loaded)


def test_a_net_without_parameters_needs_no_clause() -> None:
    """And a clause whose file holds nothing for it is an error."""
    text = "cnn 1\nnet n { input x: f32[N, 3]\n  output y = x -> relu }"
    assert not bound(load_text(SourceFile("net.cnn", text), None))


def test_unreachable_parameters_are_not_asked_for(tmp_path: Path) -> None:
    """Only what outputs need has to be in the file."""
    source = program('"w.npz"')
    text = source.text.replace("  weights", "  unused = stem -> conv(9, 9)\n  weights", 1)
    text = text.replace("conv(9, 9)", "conv(9, 1)")
    write(tmp_path / "w.npz", arrays())
    assert bound(load_text(SourceFile("net.cnn", text), tmp_path)).keys() == arrays().keys()


def test_check_vectors(tmp_path: Path) -> None:
    """Any number of samples; tolerances from the clause."""
    write(tmp_path / "w.npz", arrays())
    golden = {"x": np.zeros((6, 3, 8, 8), np.float32), "y": np.ones((6, 5), np.float32)}
    write(tmp_path / "g.npz", golden)
    loaded = load_text(program('"w.npz"', 'check "g.npz" (rtol = 1 / 8)'), tmp_path)
    (vectors,) = loaded.read_checks()
    assert (vectors.atol, vectors.rtol) == (1e-5, 0.125)
    np.testing.assert_array_equal(vectors.inputs["x"], golden["x"])
    np.testing.assert_array_equal(vectors.outputs["y"], golden["y"])


@pytest.mark.parametrize(
    ("golden", "part"),
    [
        ({"y": np.ones((6, 5), np.float32)}, "lacks the input `x`"),
        ({"x": np.ones((6, 3, 8, 8), np.float32)}, "holds no output"),
        (
            {"x": np.ones((6, 3, 8, 8), np.float32), "y": np.ones((5, 5), np.float32)},
            "different numbers of samples",
        ),
        (
            {"x": np.ones((6, 3, 8, 9), np.float32), "y": np.ones((6, 5), np.float32)},
            "`x` of the check file is f32[6, 3, 8, 9]",
        ),
        (
            {"x": np.ones((6, 3, 8, 8)), "y": np.ones((6, 5), np.float32)},
            "`x` of the check file is f64[6, 3, 8, 8]",
        ),
        (
            {
                "x": np.ones((1, 3, 8, 8), np.float32),
                "y": np.ones((1, 5), np.float32),
                "z": np.ones((1, 5), np.float32),
            },
            "no input or output `z`",
        ),
    ],
)
def test_bad_check_vectors(tmp_path: Path, golden: Arrays, part: str) -> None:
    """Each is an E0409 that says what does not fit."""
    write(tmp_path / "w.npz", arrays())
    write(tmp_path / "g.npz", golden)
    loaded = load_text(program('"w.npz"', 'check "g.npz"'), tmp_path)
    with pytest.raises(UserError) as caught:
        loaded.read_checks()
    assert [each.code for each in caught.value.diagnostics] == ["E0409"]
    assert part in caught.value.diagnostics[0].message


@pytest.mark.parametrize("example", ["digits", "sunspots"])
def test_the_examples_load(example: str) -> None:
    """Trained elsewhere by the same rule for names, bound here strictly."""
    folder = Path(__file__).resolve().parents[2] / "examples" / example
    loaded = load(folder / f"{example}.cnn")
    assert loaded.warnings == ()
    (vectors,) = loaded.read_checks()
    assert vectors.outputs.keys() == loaded.graph.outputs.keys()


TABLES = """
cnn 1

net tables {
  input x: f32[N, 3, 4]
  offset = tensor([3, 1])
  output y = x -> add { in | offset } -> mul(tensor([4]))
  output kinds = tensor([2], i64)
}
"""


def test_tensors_of_their_own_are_weights() -> None:
    values = {
        "offset": np.array([[1], [2], [3]], np.float32),
        "y.tensor": np.array([1, 2, 3, 4], np.float32),
        "kinds": np.array([7, 8]),
    }
    choices = Choices(arrays=values)
    graph = load_text(SourceFile("t", TABLES), None, choices).graph
    x = np.ones((1, 3, 4), np.float32)
    found = evaluate(graph, {"x": x})
    np.testing.assert_array_equal(found["y"], (x + values["offset"]) * values["y.tensor"])
    np.testing.assert_array_equal(found["kinds"], [7, 8])


def test_arrays_in_memory_must_fit() -> None:
    values = {
        "offset": np.zeros((3, 2), np.float32),
        "kinds": np.zeros(2, np.int32),
        "z": np.ones(1),
    }
    with pytest.raises(UserError) as caught:
        load_text(SourceFile("t", TABLES), None, Choices(arrays=values))
    assert {each.code for each in caught.value.diagnostics} == {"E0401", "E0402", "E0403", "E0404"}


def test_nothing_flows_into_a_tensor() -> None:
    text = TABLES.replace("mul(tensor([4]))", "tensor([4])")
    with pytest.raises(UserError, match="takes no tensors"):
        load_text(SourceFile("t", text), None, Choices(with_weights=False))
