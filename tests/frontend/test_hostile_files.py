"""Files of arrays made to hurt: every one is refused with a UserError, cheaply."""

import io
import json
import os
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnnc.base.errors import UserError
from cnnc.base.source import SourceFile
from cnnc.frontend.arrays import open_arrays
from cnnc.frontend.load import load, load_text
from tests.frontend.helpers import codes

NET = 'cnn 1\nnet n {{\n  input x: f32[N, 2]\n  output y = x -> dense(3)\n  weights "{}"\n}}\n'


def safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    """A file with this header, honest about its length unless told otherwise."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(
    shape: object = (2,), offsets: object = (0, 8), dtype: object = "F32"
) -> dict[str, object]:
    """The header's entry of one array."""
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def npy(header: str, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    """An array file with this header."""
    text = header.encode("latin1")
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text + data


def npz(path: Path, members: dict[str, bytes]) -> None:
    """A compressed archive of these members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


SAFETENSORS = {
    "empty": b"",
    "short": b"\x01\x02",
    "header_longer_than_file": safetensors({}, length=1 << 20),
    "header_of_all_memory": safetensors({}, length=2**64 - 1),
    "header_no_json": safetensors(b"\x80\x04]."),
    "header_nests": safetensors(b"[" * 100_000 + b"]" * 100_000),
    "header_a_list": safetensors([1, 2]),
    "entry_a_number": safetensors({"a": 3}),
    "entry_twice": safetensors(b'{"a":{},"a":{}}'),
    "entry_without_shape": safetensors({"a": {"dtype": "F32", "data_offsets": [0, 0]}}),
    "dtype_unknown": safetensors({"a": entry(dtype="F31")}, bytes(8)),
    "dtype_a_list": safetensors({"a": entry(dtype=["F32"])}, bytes(8)),
    "shape_negative": safetensors({"a": entry([-2])}, bytes(8)),
    "shape_real": safetensors({"a": entry([2.0])}, bytes(8)),
    "shape_true": safetensors({"a": entry([True], [0, 4])}, bytes(4)),
    "shape_overflows": safetensors({"a": entry([2**32, 2**32], [0, 0])}),
    "shape_overflows_to_fit": safetensors({"a": entry([2**62, 4], [0, 0])}),
    "rank_huge": safetensors({"a": entry([1] * 10_000, [0, 4])}, bytes(4)),
    "offsets_backwards": safetensors({"a": entry(offsets=[8, 0])}, bytes(8)),
    "offsets_beyond": safetensors({"a": entry(offsets=[8, 16])}, bytes(8)),
    "offsets_negative": safetensors({"a": entry(offsets=[-8, 0])}, bytes(8)),
    "offsets_true": safetensors({"a": entry([0], [False, False])}),
    "offset_true": safetensors(
        {"a": entry([1], [0, 1], "U8"), "b": entry([1], [True, 2], "U8")}, bytes(2)
    ),
    "offsets_three": safetensors({"a": entry(offsets=[0, 8, 8])}, bytes(8)),
    "arrays_overlap": safetensors({"a": entry(), "b": entry()}, bytes(8)),
    "arrays_leave_a_gap": safetensors({"a": entry(), "b": entry(offsets=[12, 20])}, bytes(20)),
    "data_left_over": safetensors({"a": entry()}, bytes(12)),
    "name_empty": safetensors({"": entry()}, bytes(8)),
    "name_controls": safetensors({"\x1b[2J": entry()}, bytes(8)),
    "name_endless": safetensors({"a" * 10_000: entry()}, bytes(8)),
}

HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n"
NPY = {
    "no_magic": b"hello",
    "empty": b"",
    "version_unknown": npy(HEADER, bytes(8), version=(9, 9)),
    "data_short": npy(HEADER, bytes(4)),
    "data_long": npy(HEADER, bytes(12)),
    "header_code": npy("__import__('os').system('true')\n"),
    "header_nests": npy("(" * 5_000),
    "header_a_number": npy("3\n"),
    "header_extra_key": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (), 'a': 1}\n"),
    "header_endless": npy(" " * 30_000_000, version=(2, 0)),
    "objects": npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", pickle.dumps(1)),
    "records": npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}\n", bytes(4)),
    "texts": npy("{'descr': '<U1', 'fortran_order': False, 'shape': (2,), }\n", bytes(8)),
    "complex": npy("{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }\n", bytes(8)),
    "shape_negative": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }\n"),
    "shape_huge": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2**60, 9), }\n"),
    "shape_overflows": npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({2**62}, 4)}}\n"),
}


@pytest.mark.parametrize("content", SAFETENSORS.values(), ids=SAFETENSORS)
def test_hostile_safetensors(tmp_path: Path, content: bytes) -> None:
    """Lengths, offsets, shapes and names that lie."""
    (tmp_path / "w.safetensors").write_bytes(content)
    assert codes(NET.format("w.safetensors"), tmp_path) == ["E0406"]


@pytest.mark.parametrize("content", NPY.values(), ids=NPY)
def test_hostile_npz_members(tmp_path: Path, content: bytes) -> None:
    """Headers that lie, pickles, and code that is never run."""
    npz(tmp_path / "w.npz", {"y.weight.npy": content})
    assert codes(NET.format("w.npz"), tmp_path) == ["E0406"]


def test_hostile_archives(tmp_path: Path) -> None:
    """No archive, a truncated one, twins, members that are no arrays, encryption."""
    array = npy(HEADER, bytes(8))
    npz(tmp_path / "good.npz", {"a.npy": array})
    good = (tmp_path / "good.npz").read_bytes()
    encrypted = bytearray(good)
    encrypted[6] |= 1
    encrypted[good.rindex(b"PK\x01\x02") + 8] |= 1
    twins = io.BytesIO()
    with zipfile.ZipFile(twins, "w") as archive:
        archive.writestr("a.npy", array)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.npy", array)
    readme = io.BytesIO()
    with zipfile.ZipFile(readme, "w") as archive:
        archive.writestr("README", b"hello")
    for content in (
        b"",
        b"PK\x03\x04",
        good[:-30],
        good[30:],
        bytes(encrypted),
        twins.getvalue(),
        readme.getvalue(),
    ):
        (tmp_path / "w.npz").write_bytes(content)
        assert codes(NET.format("w.npz"), tmp_path) == ["E0406"]


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """Honest megabytes of zeros, misshapen or under an unknown name, are never decompressed."""
    header = npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({1 << 24},), }}\n")
    with zipfile.ZipFile(tmp_path / "w.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("y.weight.npy", "bomb.npy"):
            with archive.open(name, "w") as member:
                member.write(header)
                for _ in range(64):
                    member.write(bytes(1 << 20))
    tracemalloc.start()
    found = codes(NET.format("w.npz"), tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == ["E0401", "E0402", "E0403"]
    assert peak < 16 << 20


def test_pickles_do_not_run(tmp_path: Path) -> None:
    """Neither as a member nor as the file itself."""

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "trapped"),)

    trap = pickle.dumps(Trap())
    npz(
        tmp_path / "w.npz",
        {"y.weight.npy": npy("{'descr': '|O', 'fortran_order': False, 'shape': ()}\n", trap)},
    )
    assert codes(NET.format("w.npz"), tmp_path) == ["E0406"]
    (tmp_path / "w.npz").write_bytes(trap)
    assert codes(NET.format("w.npz"), tmp_path) == ["E0406"]
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    "path",
    [
        "../w.npz",
        "a/../../w.npz",
        "/etc/passwd",
        "C:/w.npz",
        "\\\\server\\w.npz",
        "..\\w.npz",
        "",
        "link.npz",
        "linked/w.npz",
    ],
)
def test_paths_stay_inside(tmp_path: Path, path: str) -> None:
    """Dots, absolute paths, drives, and links that lead out."""
    outside = tmp_path / "outside"
    folder = tmp_path / "model"
    outside.mkdir()
    folder.mkdir()
    np.savez(outside / "w.npz", a=np.zeros(1, np.float32))
    (folder / "link.npz").symlink_to(outside / "w.npz")
    (folder / "linked").symlink_to(outside)
    assert codes(NET.format(path), folder) == ["E0407"]


def test_paths_that_name_no_readable_file(tmp_path: Path) -> None:
    """A folder, a pipe, a loop of links, a missing file, an unknown kind."""
    (tmp_path / "folder.npz").mkdir()
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "loop.npz").symlink_to(tmp_path / "loop.npz")
    (tmp_path / "weights.pt").write_bytes(b"")
    for name, code in [
        ("folder.npz", "E0702"),
        ("pipe.npz", "E0702"),
        ("loop.npz", "E0702"),
        ("missing.npz", "E0701"),
        ("weights.pt", "E0703"),
    ]:
        assert codes(NET.format(name), tmp_path) == [code]


def test_links_inside_are_followed(tmp_path: Path) -> None:
    """A link to another file of the folder is fine, and so is a folder below."""
    (tmp_path / "below").mkdir()
    weights = {"y.weight": np.ones((3, 2), np.float32), "y.bias": np.ones(3, np.float32)}
    np.savez(tmp_path / "below" / "w.npz", **weights)  # type: ignore[arg-type]
    (tmp_path / "link.npz").symlink_to(tmp_path / "below" / "w.npz")
    for name in ("below/w.npz", "./below/w.npz", "link.npz"):
        load_text(SourceFile("net.cnn", NET.format(name)), tmp_path)


def test_source_files(tmp_path: Path) -> None:
    """Missing, a folder, not UTF-8, too large, empty; byte order marks and line ends are fine."""
    path = tmp_path / "net.cnn"

    def code(content: bytes) -> tuple[str, str]:
        path.write_bytes(content)
        with pytest.raises(UserError) as caught:
            load(path)
        (only,) = caught.value.diagnostics
        return only.code, str(only.span).rpartition("net.cnn")[2]

    good = b"cnn 1\nnet n { input x: f32[N, 3]\n  output y = x -> relu }\n"
    assert code(b"") == ("E0101", ":1:1")
    assert code(b"# only a comment") == ("E0101", ":1:1")
    assert code(b"cnn 1\n# caf\xe9\n" + good) == ("E0105", ":2:6")
    assert code(b"\xef\xbb\xbfcnn 1\r\n\r\n# \xff") == ("E0105", ":3:3")
    assert code("cnn 1".encode("utf-16")) == ("E0105", ":1:1")
    assert code(b"\0" * 10) == ("E0102", ":1:1")
    assert code(b"#" * (5 << 20))[0] == "E0501"
    assert code(b"#" * (2 << 20))[0] == "E0501"
    for content in (
        good,
        b"\xef\xbb\xbf" + good.replace(b"\n", b"\r\n"),
        good.replace(b"\n", b"\r"),
    ):
        path.write_bytes(content)
        assert load(path).graph.name == "n"
    for missing, expected in [(tmp_path / "nets.cnn", "E0701"), (tmp_path, "E0702")]:
        with pytest.raises(UserError) as caught:
            load(missing)
        assert [each.code for each in caught.value.diagnostics] == [expected]


@settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.data())
def test_damaged_files_are_refused(tmp_path: Path, data: st.DataObject) -> None:
    """Flip or cut bytes of good files: they are read or refused, and nothing else happens."""
    suffix = data.draw(st.sampled_from([".npz", ".safetensors"]))
    path = tmp_path / f"w{suffix}"
    if suffix == ".npz":
        np.savez_compressed(path, a=np.arange(6, dtype=np.float32), b=np.ones((2, 3)))
    else:
        header = {"a": entry([6], [0, 24]), "b": entry([2], [24, 40], "F64")}
        path.write_bytes(safetensors(header, bytes(range(40))))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] or content)
    found = set()
    try:
        file = open_arrays(path, None)
        file.read([*file.infos])
    except UserError as error:
        found = {each.code for each in error.diagnostics}
    assert found <= {"E0406"}


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_compression(tmp_path: Path, method: int) -> None:
    """Each method has its own way to say that data are damaged."""
    path = tmp_path / "w.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("w.npy", npy(HEADER, bytes(8)))
    whole, refused = path.read_bytes(), list[str]()
    for place in range(35, whole.index(b"PK\x01\x02")):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            open_arrays(path, None).read(["w"])
        except UserError as error:
            refused += [each.code for each in error.diagnostics]
    assert len(refused) > 20
    assert set(refused) == {"E0406"}


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "net.cnn")
    with pytest.raises(UserError, match="pipe") as caught:
        load(tmp_path / "net.cnn")
    assert [each.code for each in caught.value.diagnostics] == ["E0702"]
