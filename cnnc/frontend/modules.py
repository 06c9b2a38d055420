"""What the text of each file may call by name: its own blocks, those it imports, its params."""

from collections.abc import Iterator, Mapping

from cnnc.base.errors import Diagnostic, did_you_mean
from cnnc.base.record import record
from cnnc.base.source import SourceFile
from cnnc.frontend import ast
from cnnc.frontend.imports import Imports
from cnnc.frontend.scope import Scope
from cnnc.frontend.values import UNKNOWN, Unknown


@record
class Module:
    """A file of a net: `blocks` by the names it knows them by, and the scope of its params.

    A block is UNKNOWN where its import has failed.
    """

    program: ast.Program
    blocks: Mapping[str, ast.Block | Unknown]
    scope: Scope


@record
class Modules:
    """The files of a net; `main` is the one that holds it."""

    main: Module
    all: Mapping[SourceFile, Module]

    def of(self, source: SourceFile) -> Module:
        """The file a text belongs to; what was given from outside belongs to the main file."""
        return self.all.get(source, self.main)


def link_modules(imports: Imports) -> tuple[Modules, list[Diagnostic]]:
    """The modules of all files, and what is wrong with names of blocks and nets."""
    made: dict[SourceFile, Module] = {}
    found: list[Diagnostic] = []
    for source, program in imports.programs.items():
        blocks, problems = _blocks_of(program, made, imports)
        later = {param.name.text: param.name.span for param in reversed(program.params)}
        made[source] = Module(program, blocks, Scope(later=later))
        found += problems
        found += _repeated_nets(program)
    return Modules(made[source], made), found


def _blocks_of(
    program: ast.Program, made: Mapping[SourceFile, Module], imports: Imports
) -> tuple[Mapping[str, ast.Block | Unknown], list[Diagnostic]]:
    blocks: dict[str, ast.Block | Unknown] = {}
    first: dict[str, ast.Name] = {}
    found: list[Diagnostic] = []
    for name, block in (
        *_imported(program, made, imports, found),
        *((block.name, block) for block in program.blocks),
    ):
        before = first.setdefault(name.text, name)
        if before is not name:
            found.append(_twice(name, before, blocks[name.text]))
        else:
            blocks[name.text] = block
    return blocks, found


def _imported(
    program: ast.Program,
    made: Mapping[SourceFile, Module],
    imports: Imports,
    found: list[Diagnostic],
) -> Iterator[tuple[ast.Name, ast.Block | Unknown]]:
    for each in program.imports:
        library = made[imports.links[program.span.source, each.path.value]]
        for item in each.items:
            block = library.blocks.get(item.name.text)
            if block is None:
                found.append(_no_block(item.name, each.path.value, library))
            yield item.local, block or UNKNOWN


def _no_block(name: ast.Name, path: str, library: Module) -> Diagnostic:
    message = f'"{path}" has no block `{name.text}`'
    help = did_you_mean(name.text, library.blocks)
    if name.text in [net.name.text for net in library.program.nets]:
        help = "it is a net there; only blocks are imported"
    elif name.text in [param.name.text for param in library.program.params]:
        help = "it is a param there; only blocks are imported, and see the params of their file"
    elif help is None and library.blocks:
        help = f"it has {', '.join(library.blocks)}"
    return Diagnostic("E0202", message, name.span, help=help)


def _twice(name: ast.Name, before: ast.Name, block: ast.Block | Unknown) -> Diagnostic:
    notes = [f"the first time at line {before.span.line}, column {before.span.column}"]
    help = None
    if not isinstance(block, Unknown) and block.span.source != name.span.source:
        notes.append(f"that one is imported; its text is at {block.name.span}")
        help = f"import it under another name: `{block.name.text} as {name.text}_`"
    message = f"`{name.text}` is defined twice"
    return Diagnostic("E0207", message, name.span, notes=tuple(notes), help=help)


def _repeated_nets(program: ast.Program) -> Iterator[Diagnostic]:
    first: dict[str, ast.Name] = {}
    for net in program.nets:
        before = first.setdefault(net.name.text, net.name)
        if before is not net.name:
            message = f"`{net.name.text}` is defined twice"
            note = f"the first time at line {before.span.line}"
            yield Diagnostic("E0207", message, net.name.span, notes=(note,))
