"""Runs the examples of docs/errors.md; `python -m tests.docs.explanations` writes what cnnc says.

Each runs in an empty folder. Programs are saved and, where nothing else is run, loaded; Python and
commands are run in order. What is marked wrong has to fail with the code.
"""

import contextlib
import io
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

import cnnc
from cnnc.base.errors import Diagnostic, UserError
from cnnc.base.report import report
from cnnc.cli import run_command
from cnnc.cli.explanations import Block, Explanation, explanations

PAGE = Path(__file__).resolve().parents[2] / "docs" / "errors.md"


@contextlib.contextmanager
def empty_folder() -> Iterator[None]:
    """A fresh folder to work in; modules that were imported from it are forgotten afterwards."""
    before, missing = Path.cwd(), _missing()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)
            # No others: what is imported a second time has classes that are not those of before.
            for name in [name for name, each in sys.modules.items() if _lies_in(each, folder)]:
                del sys.modules[name]
            # what an example made to be missing
            for name in _missing() - missing:
                del sys.modules[name]


def _missing() -> set[str]:
    return {name for name, each in sys.modules.items() if each is None}


def _lies_in(module: object, folder: str) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and Path(folder).resolve() in Path(file).resolve().parents


def said(explanation: Explanation) -> list[tuple[str, list[str]]]:
    """What cnnc says to each wrong block that is run, with the codes; AssertionError otherwise."""
    programs_only = all(block.language in ("cnn", "text") for block in explanation.blocks)
    found = []
    names: dict[str, object] = {"cnnc": cnnc, "np": np, "Path": Path}
    with empty_folder():
        for block in explanation.blocks:
            if block.language == "text":
                continue
            diagnostics = list(run(block, names, loads=programs_only))
            if block.is_wrong and (block.language != "cnn" or block.file == "net.cnn"):
                assert diagnostics, f"nothing is wrong with\n{block.text}"
                found.append((report(diagnostics), [each.code for each in diagnostics]))
            else:
                assert not diagnostics, report(diagnostics)
    return found


def run(block: Block, names: dict[str, object], *, loads: bool) -> Sequence[Diagnostic]:
    """What is wrong with a block."""
    try:
        if block.language == "console":
            return run_commands(block.text)
        if block.language == "python":
            exec(compile(block.text, "errors.md", "exec"), names)
        else:
            Path(block.file).write_text(block.text, encoding="utf-8")
            if loads and block.file == "net.cnn":
                return cnnc.load("net.cnn").warnings
    except UserError as error:
        return error.diagnostics
    return ()


def run_commands(text: str) -> Sequence[Diagnostic]:
    """What the commands of a console say is wrong."""
    found: list[Diagnostic] = []

    def note(diagnostics: Sequence[Diagnostic], *, colour: bool = False) -> str:
        found.extend(diagnostics)
        return report(diagnostics, colour=colour)

    real, module = report, sys.modules["cnnc.cli"]
    module.report = note  # type: ignore[attr-defined]
    try:
        for line in text.splitlines():
            program, *args = shlex.split(line.removeprefix("$ "))
            assert program == "cnnc"
            with (
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                code = run_command(args)
            assert (code == 1) == bool(found), f"{line} ended with {code}"
    finally:
        module.report = real  # type: ignore[attr-defined]
    return found


def main() -> None:
    """Write what cnnc says behind each wrong block of the page."""
    text = PAGE.read_text(encoding="utf-8")
    for explanation in explanations().values():
        texts = iter(said(explanation))
        start = text.index(f"## {explanation.code}\n")
        for block in explanation.blocks:
            wrong = block.is_wrong and (block.language != "cnn" or block.file == "net.cnn")
            if not wrong:
                continue
            end = text.index(f" wrong\n{block.text}```\n", start)
            end += len(f" wrong\n{block.text}```\n")
            rest = text[end:]
            if rest.startswith("\n```text\n"):
                rest = rest.split("\n```\n", 1)[1]
            text = f"{text[:end]}\n```text\n{next(texts)[0]}\n```\n{rest}"
            start = end
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
