"""The networks that benchmarks take by name."""

import argparse
from pathlib import Path

ZOO = Path(__file__).resolve().parents[1] / "examples" / "zoo"


def zoo_file(name: str) -> Path:
    """The file of a network of the zoo, or a file of yours; an error of argparse's names them."""
    path = ZOO / f"{name}.cnn" if Path(name).suffix != ".cnn" else Path(name)
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in ZOO.glob("*.cnn")))
        raise argparse.ArgumentTypeError(f"{name}: neither a .cnn file nor one of {known}")
    return path
