"""Blocks of other files: where files are looked for, what they bring, how mistakes are told."""

import os
import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import cnnc
from cnnc.base.errors import Diagnostic, UserError
from cnnc.frontend import imports
from cnnc.frontend.load import Choices, LoadedNet, load
from tests.frontend.helpers import operators, weights

NET = "net n {\n  input x: f32[N, 4, 8]\n  output y = x -> %s\n  weights he\n}\n"
UNIT = (
    "cnn 1\nparam k = 3\nparam N = 7\n"
    "block inner(c) { conv(c, k, pad = same) }\n"
    "block unit(c, act = relu) { inner(c) -> act }\n"
    "net other { input a: f32[N, 1, 2]\n  output b = a -> no_such }\n"
)


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Text files below a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def built(folder: Path, lines: str, stages: str, *, path: tuple[Path, ...] = ()) -> LoadedNet:
    """The net of `main.cnn`, which starts with these lines."""
    write(folder, {"main.cnn": f"cnn 1\n{lines}\n" + NET % stages})
    return load(folder / "main.cnn", Choices(import_path=path, with_weights=False))


def wrong(
    folder: Path, lines: str, stages: str = "relu", *, path: tuple[Path, ...] = ()
) -> tuple[Diagnostic, ...]:
    """What is wrong with it."""
    with pytest.raises(UserError) as caught:
        built(folder, lines, stages, path=path)
    return caught.value.diagnostics


def test_a_block_brings_what_it_needs(tmp_path: Path) -> None:
    """Its file's blocks and params, but neither nets nor the batch; weights follow the text."""
    write(tmp_path, {"lib/unit.cnn": UNIT})
    loaded = built(tmp_path, 'import unit from "lib/unit.cnn"', "unit(6)")
    assert weights(loaded)["y.inner.conv.weight"] == (6, 4, 3)
    assert loaded.graph.batch == 1
    assert loaded.params == {}


def test_another_name(tmp_path: Path) -> None:
    """`as` renames, also in the names of weights; the file's own block is another."""
    write(tmp_path, {"u.cnn": UNIT})
    lines = 'import unit as first, inner as from from "u.cnn"\nblock unit(as) { relu -> as }'
    loaded = built(tmp_path, lines, "first(4) -> from(2) -> unit(tanh)")
    assert weights(loaded).keys() >= {"y.first.inner.conv.weight", "y.from.conv.weight"}
    assert "y.unit.tanh" in operators(loaded)


def test_a_stage_means_what_it_meant_where_it_was_written(tmp_path: Path) -> None:
    """Blocks handed to an imported block are those of the file that hands them on."""
    write(tmp_path, {"u.cnn": UNIT})
    lines = 'import unit from "u.cnn"\nblock inner { conv(3, 1) -> tanh }'
    loaded = built(tmp_path, lines, "unit(6, act = inner)")
    assert weights(loaded)["y.inner.conv.weight"] == (6, 4, 3)
    assert weights(loaded)["y.inner_1.conv.weight"] == (3, 6, 1)


def test_files_import_files(tmp_path: Path) -> None:
    """Relative to their own folder; what two of them share is one file."""
    a = 'cnn 1\nimport unit from "deep/u.cnn"\nblock a { unit(4) }\n'
    b = 'cnn 1\nimport unit, inner from "deep/u.cnn"\nblock b { unit(4) -> inner(4) }\n'
    write(tmp_path, {"lib/a.cnn": a, "lib/b.cnn": b, "lib/deep/u.cnn": UNIT})
    lines = 'import a from "lib/a.cnn"\nimport b, unit from "lib/b.cnn"'
    loaded = built(tmp_path, lines, "a -> b -> unit(2)")
    assert len(weights(loaded)) == 8
    assert len(set(loaded.links.values())) == 3


def test_the_path_for_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file's own folder comes first, then those given, then those of CNNC_PATH."""
    write(tmp_path, {"one/u.cnn": UNIT, "two/u.cnn": UNIT.replace("k = 3", "k = 5")})
    write(tmp_path, {"two/v.cnn": 'cnn 1\nimport unit from "u.cnn"\nblock v { unit(4) }'})
    main = tmp_path / "main"
    lines = 'import unit from "u.cnn"\nimport v from "v.cnn"'
    found = built(main, lines, "unit(4) -> v", path=(tmp_path / "one", tmp_path / "two"))
    assert weights(found)["y.unit.inner.conv.weight"][2] == 3
    assert weights(found)["y.v.unit.inner.conv.weight"][2] == 5
    monkeypatch.setenv("CNNC_PATH", os.pathsep.join(["", str(tmp_path / "two")]))
    model = cnnc.load(main / "main.cnn", import_path=[tmp_path / "one"])
    assert model.layers[0].op == "conv(channels=4, kernel=3, pad=same)"
    assert cnnc.load(main / "main.cnn").layers[0].op == "conv(channels=4, kernel=5, pad=same)"


def test_a_model_keeps_the_texts(tmp_path: Path) -> None:
    """For another batch, and after pickling, no file is read again."""
    write(tmp_path, {"u.cnn": UNIT})
    built(tmp_path, 'import unit from "u.cnn"', "unit(6)")
    model = cnnc.load(tmp_path / "main.cnn")
    (tmp_path / "u.cnn").unlink()
    again = pickle.loads(pickle.dumps(model)).with_batch(3)
    x = np.ones((3, 4, 8), np.float32)
    assert np.array_equal(again.reference(x)["y"][:1], model.reference(x[:1])["y"])


def test_a_text_with_a_path_may_import(tmp_path: Path) -> None:
    """A text without a folder may not, unless it is told where."""
    write(tmp_path, {"u.cnn": UNIT})
    text = 'cnn 1\nimport unit from "u.cnn"\n' + NET % "unit(6)"
    for path in ([tmp_path], tmp_path, str(tmp_path)):
        assert cnnc.load_text(text, import_path=path).parameters == 78
    assert cnnc.load_text(text, folder=tmp_path).parameters == 78
    with pytest.raises(UserError, match="a text without a folder cannot import files"):
        cnnc.load_text(text)


@pytest.mark.parametrize(
    ("lines", "code", "message"),
    [
        ('import a from "no.cnn"', "E0701", "there is no file `no.cnn`"),
        ('import a from "no.**"', "E0701", "there is no file `no.**`"),
        ('import a from "no/u.["', "E0701", "there is no file `no/u.[`"),
        ('import a from "../u.cnn"', "E0407", "leads out"),
        ('import a from "/u.cnn"', "E0407", "leads out"),
        ('import a from ""', "E0407", "empty"),
        ('import a from "lib"', "E0702", "not a file"),
        ('import unti from "u.cnn"', "E0202", "no block `unti`"),
        ('import k from "u.cnn"', "E0202", "no block `k`"),
        ('import other from "u.cnn"', "E0202", "no block `other`"),
        ('import unit from "u.cnn"\nblock unit { relu }', "E0207", "`unit` is defined twice"),
        ('import unit, inner as unit from "u.cnn"', "E0207", "`unit` is defined twice"),
        ('import a from "main.cnn"', "E0214", "imports itself"),
        ('import a from "text.cnn"', "E0101", "version"),
        ('import "u.cnn"', "E0104", "an import names blocks first"),
        ('import * from "u.cnn"', "E0104", "an import names blocks first"),
        ("import u", "E0104", "an import names blocks first"),
        ("import lib.u", "E0104", "an import names blocks first"),
        ('from "u.cnn" import unit', "E0104", "an import names blocks first"),
        ('import unit "u.cnn"', "E0104", "expected"),
        ("import unit from u", "E0104", "expected a string"),
        ('import unit as from "u.cnn"', "E0104", "expected"),
    ],
)
def test_mistakes_in_imports(tmp_path: Path, lines: str, code: str, message: str) -> None:
    """Each is one diagnostic, and names that were to be imported cause no more."""
    write(tmp_path, {"u.cnn": UNIT, "text.cnn": "hello", "lib/x": ""})
    (found,) = wrong(tmp_path, lines)
    assert found.code == code
    assert message in found.message


def test_a_failed_import_is_one_mistake(tmp_path: Path) -> None:
    """What uses the block says nothing."""
    write(tmp_path, {"u.cnn": UNIT})
    (found,) = wrong(tmp_path, 'import unti from "u.cnn"', "unti(3) -> relu")
    assert found.help == "did you mean `unit`?"


def test_two_blocks_of_one_name_are_both_shown(tmp_path: Path) -> None:
    """Where the first is imported, and where its text is."""
    write(tmp_path, {"u.cnn": UNIT})
    (found,) = wrong(tmp_path, 'import unit from "u.cnn"\nblock unit { relu }')
    assert found.span is not None
    assert found.span.line == 3
    assert found.notes[0] == "the first time at line 2, column 8"
    assert found.notes[1] == f"that one is imported; its text is at {tmp_path / 'u.cnn'}:5:7"
    assert found.help == "import it under another name: `unit as unit_`"


def test_mistakes_in_an_imported_block(tmp_path: Path) -> None:
    """They are shown where they are, and who came there."""
    text = "cnn 1\nblock bad { conv(3, 9) }\n"
    write(tmp_path, {"u.cnn": text})
    (found,) = wrong(tmp_path, 'import bad from "u.cnn"', "relu -> bad")
    assert str(found.span) == f"{tmp_path / 'u.cnn'}:2:21"
    assert found.notes[-1] == f"in `bad`, used from {tmp_path / 'main.cnn'}:5:27"


def test_mistakes_in_imported_texts(tmp_path: Path) -> None:
    """Texts that do not parse are all reported, with who imports them."""
    broken = "cnn 1\nblock a { relu -> }\n"
    write(tmp_path, {"a.cnn": broken, "b.cnn": 'cnn 1\nimport a from "a.cnn"\nblock b { a ) }'})
    found = wrong(tmp_path, 'import a from "a.cnn"\nimport b from "b.cnn"')
    places = [str(each.span) for each in found]
    assert places == [f"{tmp_path / 'a.cnn'}:2:19", f"{tmp_path / 'b.cnn'}:3:13"]
    assert [each.notes[-1] for each in found] == [
        f"imported from {tmp_path / 'main.cnn'}:2:15",
        f"imported from {tmp_path / 'main.cnn'}:3:15",
    ]


def test_circles_are_shown_whole(tmp_path: Path) -> None:
    """Every file of the chain, with its line."""
    for one, two in (("a", "b"), ("b", "c"), ("c", "a")):
        write(
            tmp_path,
            {f"{one}.cnn": f'cnn 1\n\nimport {two} from "{two}.cnn"\nblock {one} {{ {two} }}'},
        )
    (found,) = wrong(tmp_path, 'import a from "a.cnn"')
    assert found.code == "E0214"
    assert found.notes[:3] == tuple(
        f"`{tmp_path / one}.cnn` imports `{tmp_path / two}.cnn` at line 3"
        for one, two in (("a", "b"), ("b", "c"), ("c", "a"))
    )


def test_links_lead_nowhere_else(tmp_path: Path) -> None:
    """A link inside the folder to a file outside is refused."""
    write(tmp_path, {"outside.cnn": UNIT, "inside/x": ""})
    (tmp_path / "inside" / "u.cnn").symlink_to(tmp_path / "outside.cnn")
    (found,) = wrong(tmp_path / "inside", 'import unit from "u.cnn"')
    assert found.code == "E0407"


def test_files_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No net needs hundreds of files, or many megabytes of text."""
    write(tmp_path, {f"{name}.cnn": f"cnn 1\nblock {name} {{ relu }}" for name in "abcd"})
    monkeypatch.setattr(imports, "MAX_FILES", 3)
    lines = "\n".join(f'import {name} from "{name}.cnn"' for name in "abcd")
    (found,) = wrong(tmp_path, lines, "a -> b -> c -> d")
    assert (found.code, found.span and found.span.line) == ("E0506", 5)


def test_a_file_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many files import it."""
    names = "abcdef"
    for place, name in enumerate(names):
        lines = "".join(f'import {each} from "{each}.cnn"\n' for each in names[:place])
        write(tmp_path, {f"{name}.cnn": f"cnn 1\n{lines}block {name} {{ relu }}"})
    monkeypatch.setattr(imports, "MAX_FILES", len(names))
    assert operators(built(tmp_path, 'import f from "f.cnn"', "f")) != {}
    monkeypatch.setattr(imports, "MAX_FILES", len(names) - 1)
    assert {each.code for each in wrong(tmp_path, 'import f from "f.cnn"', "f")} == {"E0506"}


def test_a_missing_folder_of_the_path(tmp_path: Path) -> None:
    """It is named."""
    (found,) = wrong(tmp_path, 'import a from "a.cnn"', path=(tmp_path / "no",))
    assert found.code == "E0701"
    assert found.message == f"there is no folder `{tmp_path / 'no'}` to import from"


def test_unused_imports(tmp_path: Path) -> None:
    """Are pointed at."""
    write(tmp_path, {"u.cnn": UNIT})
    loaded = built(tmp_path, 'import unit, inner from "u.cnn"', "unit(3)")
    assert [each.message for each in loaded.warnings] == ["import `inner` is never used"]
