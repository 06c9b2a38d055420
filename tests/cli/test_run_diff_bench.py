"""`run`, `diff` and `bench`: real inputs in, results, reports and exit codes out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cnnc import driver, machine
from cnnc.api import load
from cnnc.backends.cuda import toolchain
from cnnc.bench import bench
from cnnc.ir.graph import Constant, Graph, Node
from cnnc.network import Array, Network
from tests.cli.helpers import DIGITS, Runner

NET = ("--net", "small")


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """Five samples for `small`, as npy."""
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(0).standard_normal((5, 3, 5, 6)).astype(np.float32))
    return path


def test_digits_with_labels(cnnc: Runner, tmp_path: Path) -> None:
    """Accuracy on the held-out images; the label array is no input and says so."""
    output = tmp_path / "y.npz"
    ended = cnnc(
        *("run", DIGITS / "digits.cnn", "-i", DIGITS / "digits_heldout.npz"),
        *("--labels", "label", "--top", "2", "-o", output, "--json"),
    )
    data = ended.json()
    assert data["samples"] == 360
    assert data["accuracy"]["prob"] >= 0.98
    with np.load(output) as written:
        assert written["prob"].shape == (360, 10)
        best = np.argsort(-written["prob"], axis=1)[:, :2]
    top = data["outputs"]["prob"]["top"]
    np.testing.assert_array_equal(top, best)
    ended = cnnc("run", DIGITS / "digits.cnn", "-i", DIGITS / "digits_heldout.npz")
    assert "label ignored" in ended.err


@pytest.mark.parametrize("label", [10, -1])
def test_labels_that_are_no_classes(cnnc: Runner, tmp_path: Path, label: int) -> None:
    """They are of another network, or counted from 1."""
    given = tmp_path / "x.npz"
    np.savez(given, image=np.zeros((2, 1, 8, 8), np.float32), label=[0, label])
    ended = cnnc("run", DIGITS / "digits.cnn", "-i", given, "--labels", "label", code=1)
    assert f"label {label} is none of the 10 classes" in ended.err


@pytest.mark.parametrize("backend", ["native", "interp", "reference"])
def test_backends_agree(cnnc: Runner, small: Path, samples: Path, backend: str) -> None:
    """Every backend writes the same file up to rounding."""
    output = small.with_name(f"{backend}.npy")
    cnnc("run", small, *NET, "-i", samples, "-o", output, "--backend", backend)
    expected = small.with_name("expected.npy")
    cnnc("run", small, *NET, "-i", samples, "-o", expected, "--backend", "reference")
    np.testing.assert_allclose(np.load(output), np.load(expected), atol=1e-5)


def test_inputs_by_name(cnnc: Runner, small: Path, tmp_path: Path) -> None:
    """Two inputs from two files, or from one npz."""
    a, b = np.ones((3, 2), np.float32), np.full((3, 2), 2, np.float32)
    np.save(tmp_path / "a.npy", a)
    np.save(tmp_path / "b.npy", b)
    np.savez(tmp_path / "both.npz", a=a, b=b, rest=a)
    output = tmp_path / "s.npy"
    other = ("run", small, "--net", "other", "-o", output)
    cnnc(*other, "-i", f"a={tmp_path / 'a.npy'}", "-i", f"b={tmp_path / 'b.npy'}")
    np.testing.assert_array_equal(np.load(output), a + b)
    ended = cnnc(*other, "-i", tmp_path / "both.npz")
    assert "rest ignored" in ended.err
    assert "does not say which" in cnnc(*other, "-i", tmp_path / "a.npy", code=1).err
    assert "`b` is missing" in cnnc(*other, "-i", f"a={tmp_path / 'a.npy'}", code=1).err
    assert "no input `c`" in cnnc(*other, "-i", f"c={tmp_path / 'a.npy'}", code=1).err


def image(path: Path, mode: str, size: tuple[int, int] = (6, 5)) -> NDArray[np.uint8]:
    """Write an image of random pixels and return them."""
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    pixels = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    Image.fromarray(pixels, mode=mode if mode == "RGB" else None).save(path)
    return pixels


def test_images(cnnc: Runner, small: Path, tmp_path: Path) -> None:
    """Pixels become channels × height × width in 0..1; several images are several samples."""
    path, twice = tmp_path / "a.png", ("-i", tmp_path / "a.png", "-i", tmp_path / "a.png")
    pixels = image(path, "RGB")
    x = (pixels.transpose(2, 0, 1)[None] / 255).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    one, two = tmp_path / "one.npy", tmp_path / "two.npy"
    cnnc("run", small, *NET, "-i", tmp_path / "x.npy", "-o", one)
    cnnc("run", small, *NET, *twice, "-o", two)
    np.testing.assert_array_equal(np.load(two), np.repeat(np.load(one), 2, axis=0))


def test_images_that_do_not_fit(cnnc: Runner, small: Path, tmp_path: Path) -> None:
    """Never resized, never guessed."""
    image(tmp_path / "wide.png", "RGB", (7, 5))
    text = cnnc("run", small, *NET, "-i", tmp_path / "wide.png", code=1).err
    assert "7 wide and 5 high" in text
    image(tmp_path / "turned.png", "RGB", (5, 6))
    assert "5 wide" in cnnc("run", small, *NET, "-i", tmp_path / "turned.png", code=1).err
    (tmp_path / "no.png").write_bytes(b"no image")
    assert "E0406" in cnnc("run", small, *NET, "-i", tmp_path / "no.png", code=1).err


def test_grey_images_of_sixteen_bits(cnnc: Runner, tmp_path: Path) -> None:
    """White is 1 there too."""
    net = tmp_path / "id.cnn"
    net.write_text("cnn 1\nnet n {\n  input x: f32[N, 1, 1, 2]\n  output y = x -> relu\n}\n")
    Image.fromarray(np.array([[0, 65535]], np.uint16)).save(tmp_path / "deep.png")
    output = tmp_path / "y.npy"
    cnnc("run", net, "-i", tmp_path / "deep.png", "-o", output)
    np.testing.assert_array_equal(np.load(output).ravel(), [0, 1])


class Trap:
    """Unpickling this would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path(self.path),)


def test_nothing_is_unpickled(cnnc: Runner, small: Path, tmp_path: Path) -> None:
    """Arrays of objects are refused in npy and npz."""
    evil = np.array([Trap(tmp_path / "sprung")], dtype=object)
    np.save(tmp_path / "evil.npy", evil, allow_pickle=True)
    np.savez(tmp_path / "evil.npz", x=evil)
    for name in ("evil.npy", "evil.npz"):
        assert "E0406" in cnnc("run", small, *NET, "-i", tmp_path / name, code=1).err
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("empty.npy", b""),
        ("magic.npy", b"\x93NUMPY"),
        (
            "lies.npy",
            b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': "
            b"(9999999999,)}" + b" " * 52 + b"\n",
        ),
        ("empty.npz", b""),
        ("text.npz", b"no archive"),
        ("short.safetensors", b"\xff" * 12),
        ("what.csv", b"1,2"),
    ],
)
def test_damaged_files(cnnc: Runner, small: Path, tmp_path: Path, name: str, data: bytes) -> None:
    """A user's error with the file's name, never a traceback."""
    (tmp_path / name).write_bytes(data)
    text = cnnc("run", small, *NET, "-i", tmp_path / name, code=1).err
    assert name in text
    assert "Traceback" not in text


def test_files_that_are_not_there(cnnc: Runner, small: Path, samples: Path, tmp_path: Path) -> None:
    """Near names are suggested; outputs go to folders that exist."""
    assert (
        "did you mean `x.npy`?" in cnnc("run", small, *NET, "-i", tmp_path / "xx.npy", code=1).err
    )
    text = cnnc("run", small, *NET, "-i", samples, "-o", tmp_path / "no" / "y.npy", code=1).err
    assert "E0704" in text
    assert f"make the folder `{tmp_path / 'no'}` first" in text
    assert "E0703" in cnnc("run", small, *NET, "-i", samples, "-o", tmp_path / "y.txt", code=1).err
    text = cnnc("run", small, *NET, "-i", samples, "-o", tmp_path, code=1).err
    assert f"`{tmp_path}` is a folder" in text
    assert "is not a file" in cnnc("run", small, *NET, "-i", tmp_path, code=1).err
    assert "there is no file" in cnnc("run", small, *NET, "-i", tmp_path / "zz", code=1).err


def test_text_called_npy_is_no_pickle(cnnc: Runner, small: Path, tmp_path: Path) -> None:
    """NumPy's advice to unpickle it is not passed on."""
    (tmp_path / "text.npy").write_text("1 2 3")
    text = cnnc("run", small, *NET, "-i", tmp_path / "text.npy", code=1).err
    assert "does not begin as an npy file" in text
    assert "pickle" not in text


def test_numbers_and_nouns_agree(cnnc: Runner, small: Path, tmp_path: Path) -> None:
    """One sample is one sample; none has no mean time."""
    for count, said in ((0, "0 samples in"), (1, "1 sample in"), (2, "2 samples in")):
        np.save(tmp_path / "x.npy", np.zeros((count, 3, 5, 6), np.float32))
        line = cnnc("run", small, *NET, "-i", tmp_path / "x.npy").out.splitlines()[-1]
        assert line.startswith(said)
        assert (" each" in line) is (count > 1)


def test_the_first_run_is_not_timed_where_others_are(
    cnnc: Runner, small: Path, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In it threads start; without --repeat there is no other, and the line says so."""
    calls, call = [], Network.__call__

    def counted(network: Network, arrays: dict[str, Array]) -> dict[str, Array]:
        calls.append(len(arrays))
        return call(network, arrays)

    monkeypatch.setattr(Network, "__call__", counted)
    given = ("run", small, *NET, "-i", samples)
    assert "(the first run; --repeat " in cnnc(*given).out.splitlines()[-1]
    assert len(calls) == 1
    assert "(median of 3 runs, after one " in cnnc(*given, "--repeat", "3").out.splitlines()[-1]
    assert len(calls) == 1 + 4
    data = cnnc(*given, "--repeat", "1", "--json").json()
    assert (data["runs"], data["warmed_up"]) == (1, True)
    assert cnnc(*given, "--json").json()["warmed_up"] is False
    assert "0 is not in the range" in cnnc(*given, "--repeat", "0", code=1).err


def test_options_that_mean_nothing(cnnc: Runner, small: Path, samples: Path) -> None:
    """A negative --top, labels that nowhere are, a backend that is none."""
    args = ("run", small, *NET, "-i", samples)
    assert "--top is -1" in cnnc(*args, "--top", "-1", code=1).err
    assert "given with -i" in cnnc(*args, "--labels", "label", code=1).err
    assert "native, c, cuda, interp, reference" in cnnc(*args, "--backend", "metal", code=1).err


def test_outputs_appear_whole(cnnc: Runner, small: Path, samples: Path, tmp_path: Path) -> None:
    """The same bytes every time, and no temporary file stays."""
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    cnnc("run", small, *NET, "-i", samples, "-o", first)
    cnnc("run", small, *NET, "-i", samples, "-o", second)
    assert first.read_bytes() == second.read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_what_is_read_is_not_replaced(cnnc: Runner, tmp_path: Path) -> None:
    """Neither inputs nor the golden vectors and weights that the net names."""
    text = "cnn 1\nnet n {\n  input x: f32[N, 2]\n  output y = x -> dense(1)\n"
    text += '  weights "w.npz"\n  check "golden.npz"\n}\n'
    (tmp_path / "n.cnn").write_text(text)
    x = np.ones((1, 2), np.float32)
    np.savez(tmp_path / "w.npz", **{"y.weight": x, "y.bias": x[0, :1]})
    np.savez(tmp_path / "golden.npz", x=x, y=np.full((1, 1), 3, np.float32))
    np.savez(tmp_path / "x.npz", x=x)
    (tmp_path / "link.npz").symlink_to("x.npz")
    args = ("run", tmp_path / "n.cnn", "-i", tmp_path / "x.npz", "-o")
    for name in ("w.npz", "golden.npz", "x.npz", "link.npz"):
        before = (tmp_path / name).read_bytes()
        err = cnnc(*args, tmp_path / name, code=1).err
        assert "is read by this command" in err
        assert (tmp_path / name).read_bytes() == before
    cnnc(*args, tmp_path / "y.npz")
    cnnc(*args, tmp_path / "y.npz")


def test_diff_agrees(cnnc: Runner) -> None:
    """The digits example on its golden vectors."""
    data = cnnc("diff", DIGITS / "digits.cnn", "--json").json()
    assert data["ok"] is True
    assert data["samples"] == 6
    assert [check["ok"] for check in data["checks"]] == [True, True]


def test_diff_finds_a_bug(cnnc: Runner, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 2, and the guilty pass by name."""

    def wrong(graph: Graph) -> Graph:
        def change(node: Node) -> Node:
            if isinstance(node.op, Constant):
                return replace(node, op=Constant(node.op.value + np.float32(0.5)))
            return node

        return graph.rebuild(change)

    monkeypatch.setattr(driver, "simplify", wrong)
    assert "passes, simplify" in cnnc("diff", small, *NET, code=2).out


def test_diff_meets_no_check_file(cnnc: Runner, tmp_path: Path) -> None:
    """Exit code 1: the file is wrong, not cnnc."""
    net = tmp_path / "n.cnn"
    net.write_text(
        'cnn 1\nnet n {\n  input x: f32[N, 2]\n  output y = x -> relu\n  check "golden.npz"\n}\n'
    )
    np.savez(tmp_path / "golden.npz", x=np.ones((1, 2), "f4"), y=np.zeros((1, 2), "f4"))
    assert "check file" in cnnc("diff", net, code=1).out


def test_bench_prints_the_share_of_the_peak(cnnc: Runner, small: Path) -> None:
    """Every layer with its time; shares are of a peak measured here."""
    data = cnnc("bench", small, *NET, "--seconds", "0.05", "--json").json()
    assert data["peak_gflops"] > 1
    layers = data["layers"]
    assert isinstance(layers, list)
    convolution = next(row for row in layers if row["macs"])
    assert 0 < convolution["of_peak"] < 1.2
    assert all(row["seconds"] > 0 for row in layers)
    assert "of peak" in cnnc("bench", small, *NET, "--seconds", "0.05").out


def test_more_threads_than_cores(
    cnnc: Runner, small: Path, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They make a network slower, which nobody would guess: it is said, and done."""
    monkeypatch.setattr(machine, "usable_cores", lambda: 2)
    run, args = ("run", small, *NET, "-i", samples), ("--threads", "3")
    said = "warning: 3 threads share 2 cores and wait for each other: `--threads 2` is faster\n"
    made = small.with_suffix(".cnnc")
    assert cnnc("compile", small, *NET, "-o", made, *args).err == said
    assert cnnc("run", made, "-i", samples).err == said
    assert cnnc("diff", small, *NET, *args).err == said
    for given in (
        run,
        ("bench", small, *NET, "--seconds", "0.01", "--json"),
        ("run", made, *run[4:]),
    ):
        assert cnnc(*given, *args).err == said
        assert cnnc(*given, "--threads", "2").err == ""
    assert cnnc(*run, *args, "--backend", "interp").err == ""


def test_bench_tells_how_far_it_is(small: Path) -> None:
    """Call by call, where each takes longer than the time that was asked for."""
    network, told = load(small, net="small").compile(backend="interp"), list[tuple[int, int]]()
    layers = bench(network, 1e-6, progress=lambda done, total: told.append((done, total))).layers
    calls = len(layers) + 1
    assert told == [(each + 1, 6 * calls) for each in range(6 * calls)]


TINY = """cnn 1
net tiny {
  input x: f32[N, 2, 4, 4]
  output y = x -> conv(2, 3)
  weights he(seed = 1)
  check "tiny.npz"
}
"""


def test_diff_in_python_takes_one_batch_of_a_check_file(cnnc: Runner, tmp_path: Path) -> None:
    """And says so; other backends take all of it."""
    path = tmp_path / "tiny.cnn"
    path.write_text(TINY.replace('  check "tiny.npz"\n', ""))
    x = np.random.default_rng(0).normal(size=(5, 2, 4, 4)).astype(np.float32)
    np.savez(tmp_path / "tiny.npz", x=x, y=load(path).reference(x)["y"])
    path.write_text(TINY)
    for target in ("native", "cuda"):
        ended = cnnc("diff", path, "--target", target, "--backend", "interp", "--batch", "2")
        assert "the first 2 samples only" in ended.err
        assert "2 samples" in ended.out
    ended = cnnc("diff", path)
    assert "first" not in ended.err
    assert "5 samples" in ended.out


def test_diff_for_a_gpu_that_is_not_there(
    cnnc: Runner, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The help names what works without one."""
    monkeypatch.setattr(toolchain, "look_for_gpu", lambda: "there is no GPU")
    text = cnnc("diff", small, *NET, "--target", "cuda", code=1).err
    assert "with `--backend interp`, `cnnc diff` and `run`" in text
