"""Files that import blocks of other files: found, read once each, and linked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cnnc.base.errors import Diagnostic, UserError
from cnnc.base.record import record
from cnnc.base.source import SourceFile
from cnnc.frontend import ast
from cnnc.frontend.files import find_source, read_source
from cnnc.frontend.parse import MAX_TEXT, parse

MAX_FILES = 100
"""Imported files of one net."""

Links = Mapping[tuple[SourceFile, str], SourceFile]
"""What a path in the text of a file means; enough to build a net again without its folder."""


@record
class Imports:
    """All files a net is made of: imported files before those that import them, its own last."""

    programs: Mapping[SourceFile, ast.Program]
    links: Links


def follow_imports(
    source: SourceFile,
    path: Path | None,
    folder: Path | None,
    import_path: Sequence[Path],
    links: Links | None = None,
) -> Imports:
    """The files that `source`, which lies at `path` in `folder`, is made of.

    Paths are relative to the folder of the importing file, or else to one of `import_path`. With
    `links` of an earlier call no file is opened. UserError with what is wrong in any of the texts,
    for paths that lead to no file or out of these folders, and for files that import themselves.
    """
    reader = _Reader(tuple(import_path), links)
    try:
        reader.read(source, path, folder)
    except UserError as error:
        reader.found += error.diagnostics
    if reader.found:
        raise UserError(reader.found)
    return Imports(reader.programs, reader.links)


@dataclass(slots=True)
class _Reader:
    import_path: tuple[Path, ...]
    known: Links | None
    programs: dict[SourceFile, ast.Program] = field(default_factory=dict)
    links: dict[tuple[SourceFile, str], SourceFile] = field(default_factory=dict)
    found: list[Diagnostic] = field(default_factory=list)
    _sources: dict[Path, SourceFile] = field(default_factory=dict)
    _open: list[SourceFile] = field(default_factory=list)
    _through: list[ast.Import] = field(default_factory=list)
    _characters: int = 0

    def read(self, source: SourceFile, path: Path | None, folder: Path | None) -> None:
        """Parse a file and all it imports; what is wrong in what it imports goes to `found`."""
        if path is not None:
            self._sources[path.resolve()] = source
        program = parse(source)
        self._open.append(source)
        for each in program.imports:
            self._through.append(each)
            try:
                self._follow(each, source, folder)
            except UserError as error:
                self.found += [self._with_place(one, each) for one in error.diagnostics]
            self._through.pop()
        self._open.pop()
        self.programs[source] = program

    def _follow(self, it: ast.Import, source: SourceFile, folder: Path | None) -> None:
        if self.known is not None:
            found, path = self.known[source, it.path.value], None
        else:
            path = find_source(it.path.value, folder, self.import_path, it.path.span)
            found = self._sources.get(path.resolve()) or read_source(path)
        self.links[source, it.path.value] = found
        if found in self._open:
            raise self._circle(found, it)
        if found in self.programs:
            return
        self._characters += len(found.text)
        if len(self.programs) + len(self._open) > MAX_FILES or self._characters > 4 * MAX_TEXT:
            message = f"the net needs more than {MAX_FILES} files or {4 * MAX_TEXT} characters"
            raise UserError([Diagnostic("E0506", message, it.path.span)])
        self.read(found, path, path.parent if path is not None else None)

    def _circle(self, again: SourceFile, it: ast.Import) -> UserError:
        start = self._open.index(again)
        links = self._through[start:]
        names = [each.span.source.name for each in links] + [again.name]
        message = "files import each other in a circle"
        if len(links) == 1:
            message = f"`{again.name}` imports itself"
        notes = [
            f"`{name}` imports `{target}` at line {each.span.line}"
            for name, target, each in zip(names, names[1:], links, strict=False)
        ]
        help = "move the blocks that both need to a file of their own"
        return UserError(
            [Diagnostic("E0214", message, it.path.span, notes=tuple(notes), help=help)]
        )

    def _with_place(self, diagnostic: Diagnostic, it: ast.Import) -> Diagnostic:
        """The diagnostic with a note on who imports the file it is in, unless that is plain."""
        span = diagnostic.span
        if span is not None and span.source == it.span.source:
            return diagnostic
        return replace(diagnostic, notes=(*diagnostic.notes, f"imported from {it.path.span}"))
