"""Networks that benchmarks take."""

import argparse
from pathlib import Path

import pytest
from zoo import ZOO, zoo_file


def test_names_and_files(tmp_path: Path) -> None:
    assert zoo_file("lenet5") == ZOO / "lenet5.cnn"
    mine = tmp_path / "mine.cnn"
    mine.write_text("cnn 1\n", encoding="utf-8")
    assert zoo_file(str(mine)) == mine


@pytest.mark.parametrize("name", ["lenet", "lenet.cnn", "", "../zoo/"])
def test_what_is_none(name: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"one of densenet121, .*wavenet"):
        zoo_file(name)
