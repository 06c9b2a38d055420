"""Static libraries, as binutils reads them."""

import subprocess
from pathlib import Path

import pytest

from cnnc.standalone.archive import Object, archive
from tests.tools import require_tool


def compiled(folder: Path, name: str, text: str) -> Object:
    """A C text as a member that defines a function of its name."""
    (folder / f"{name}.c").write_text(text)
    command = ["gcc", "-c", f"{name}.c", "-o", f"{name}.o"]
    subprocess.run(command, cwd=folder, check=True)
    return Object(f"{name}.o", (folder / f"{name}.o").read_bytes(), (name,))


def test_a_linker_takes_what_it_needs(tmp_path: Path) -> None:
    """Objects are found by the index, and `ar` and `nm` see them as they are."""
    require_tool("gcc", package="gcc")
    require_tool("ar", package="binutils")
    long = "a_function_whose_name_is_longer_than_sixteen"
    members = [
        compiled(tmp_path, "one", "int one(void) { return 1; }"),
        compiled(tmp_path, long, f"int one(void); int {long}(void) {{ return one() + 1; }}"),
        compiled(tmp_path, "other", "int missing(void); int other(void) { return missing(); }"),
    ]
    (tmp_path / "libx.a").write_bytes(archive(members))
    listed = subprocess.run(["ar", "t", "libx.a"], cwd=tmp_path, capture_output=True, text=True)
    assert listed.stdout.split() == ["one.o", f"{long}.o", "other.o"]
    (tmp_path / "main.c").write_text(f"int {long}(void); int main(void) {{ return {long}(); }}")
    subprocess.run(["gcc", "main.c", "libx.a", "-o", "main"], cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "main"]).returncode == 2


def test_the_same_objects_give_the_same_bytes() -> None:
    """No time, owner or folder is in it; odd members are padded."""
    members = [Object("a.o", b"odd", ("a",)), Object("b.o", b"even", ("b", "c"))]
    made = archive(members)
    assert made == archive(members)
    assert len(made) % 2 == 0
    assert made.startswith(b"!<arch>\n/ ")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_members_stand_at_even_offsets(count: int) -> None:
    """The index says where each begins."""
    members = [Object(f"{i}.o", bytes(2 * i + 1), (f"symbol{i}",)) for i in range(count)]
    made = archive(members)
    for i, member in enumerate(members):
        place = int.from_bytes(made[72 + 4 * i : 76 + 4 * i], "big")
        assert place % 2 == 0
        assert made[place + 60 : place + 60 + len(member.data)] == member.data
