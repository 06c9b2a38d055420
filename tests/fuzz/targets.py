"""What is fed with mutated inputs: one function for each kind of input."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random

import numpy as np

import cnnc
from cnnc.arrays import Source, read_inputs
from cnnc.artifact import read_artifact
from cnnc.base.source import SourceFile
from cnnc.binding import Binding
from cnnc.driver import find_target, plan
from cnnc.frontend.load import Choices, load_text
from cnnc.frontend.state import Limits
from cnnc.interface import Interface
from cnnc.ir.text import format_graph
from cnnc.tunefile import read_choices
from tests.files.forge import header_of, with_header
from tests.fuzz import seeds
from tests.fuzz.mutate import mutate_bytes, mutate_text

Run = Callable[[Random], object]


@dataclass(frozen=True, slots=True)
class Changes:
    """How a sound text and sound bytes are changed."""

    text: Callable[[Random, Sequence[str]], str] = mutate_text
    data: Callable[[Random, bytes], bytes] = mutate_bytes


NONE = Changes(lambda random, texts: random.choice(texts), lambda random, data: data)
"""Leaves everything sound."""
SMALL = Choices(limits=Limits(steps=300, memory=1 << 24, diagnostics=20))


def texts(folder: Path, changes: Changes) -> Run:
    """Networks; the files they name do not exist."""
    sound = seeds.texts()

    def run(random: Random) -> object:
        text = changes.text(random, sound)
        return format_graph(load_text(SourceFile("fuzz.cnn", text), folder, SMALL).graph)

    return run


def settings(folder: Path, changes: Changes) -> Run:
    """What stands behind `--set width=`."""
    sound = ["4", "2 ^ 3", "max(1, 2) * 3", "[1, 2][0]", "if (1 < 2) { 3 } else { 4 }", "-1", "1/3"]
    text = seeds.NET.replace('"weights.SUFFIX"', "he #")

    def run(random: Random) -> object:
        choices = Choices({"width": changes.text(random, sound)}, limits=SMALL.limits)
        return load_text(SourceFile("fuzz.cnn", text), None, choices).params

    return run


def weights(folder: Path, changes: Changes) -> Run:
    """Files of weights."""
    files = seeds.weight_files()
    golden = {"image": np.zeros((1, 3, 8, 6), np.float32), "y": np.zeros((1, 5), np.float32)}
    np.savez(folder / "golden.npz", **golden)

    def run(random: Random) -> object:
        name = random.choice(sorted(files))
        suffix = name.partition(".")[2]
        (folder / f"weights.{suffix}").write_bytes(changes.data(random, files[name]))
        text = seeds.NET.replace("SUFFIX", suffix)
        return load_text(SourceFile("fuzz.cnn", text), folder, SMALL).read_checks()

    return run


def checks(folder: Path, changes: Changes) -> Run:
    """Files of golden vectors."""
    golden = {"image": np.zeros((1, 3, 8, 6), np.float32), "y": np.zeros((1, 5), np.float32)}
    np.savez(folder / "golden.npz", **golden)
    sound = (folder / "golden.npz").read_bytes()
    (folder / "weights.npz").write_bytes(seeds.weight_files()["plain.npz"])
    loaded = load_text(SourceFile("fuzz.cnn", seeds.NET.replace("SUFFIX", "npz")), folder, SMALL)

    def run(random: Random) -> object:
        (folder / "golden.npz").write_bytes(changes.data(random, sound))
        return loaded.read_checks()

    return run


def inputs(folder: Path, changes: Changes) -> Run:
    """Arrays on the command line."""
    return _files(folder, changes, seeds.input_files())


def images(folder: Path, changes: Changes) -> Run:
    """Images on the command line."""
    return _files(folder, changes, seeds.image_files())


def _files(folder: Path, changes: Changes, files: Mapping[str, bytes]) -> Run:
    text = seeds.NET.replace('"weights.SUFFIX"', "he #").replace("check", "#")
    graph = load_text(SourceFile("fuzz.cnn", text), None, SMALL).graph

    def run(random: Random) -> object:
        name = random.choice(sorted(files))
        path = folder / name
        path.write_bytes(changes.data(random, files[name]))
        read = read_inputs(Interface.of(graph), [Source(path, random.choice((None, "image")))])
        return Binding(Interface.of(graph)).bind(read.arrays, {}).samples

    return run


def compiled(folder: Path, changes: Changes) -> Run:
    """Files of compiled networks: any bytes, and headers whose sums are right. No code is run."""
    path = folder / "net.cnnc"
    text = seeds.NET.replace('"weights.SUFFIX"', "he #").replace("check", "#")
    cnnc.load_text(text).compile().save(path)
    sound = path.read_bytes()
    header = header_of(sound)

    def run(random: Random) -> object:
        if random.random() < 0.2:
            path.write_bytes(changes.data(random, sound))
        else:
            path.write_bytes(with_header(sound, changes.data(random, header)))
        return read_artifact(path).interface

    return run


def tunings(folder: Path, changes: Changes) -> Run:
    """Tune files: any text, and texts whose sums are right; their choices are tried on a net."""
    path, target = folder / "n.tune", find_target("x86-64-v3")
    graph = load_text(SourceFile("fuzz.cnn", seeds.TUNED_NET), folder, SMALL).graph
    sound = seeds.tune_files(graph.outputs["y"], target)

    def run(random: Random) -> object:
        text = changes.text(random, sound)
        if random.random() < 0.8:
            text = re.sub(r"sum [0-9a-f]*\n?\Z", "", text)
            text += f"sum {sha256(text.encode(errors='replace')).hexdigest()}\n"
        path.write_text(text, encoding="utf-8", errors="replace", newline="")
        choices = read_choices(path, target, exact=False)
        return plan(graph, target, choices=choices)

    return run


KINDS: Mapping[str, Callable[[Path, Changes], Run]] = {
    "texts": texts,
    "settings": settings,
    "weights": weights,
    "checks": checks,
    "inputs": inputs,
    "images": images,
    "compiled": compiled,
    "tunings": tunings,
}
