"""Programs inside Markdown: the blocks fenced as ```cnn."""

import re

from cnnc.base.errors import Diagnostic, UserError
from cnnc.base.source import SourceFile
from cnnc.frontend.formatting.format import format_source

_FENCED = re.compile(r"^(`{3,}|~{3,})(.*)\n((?:.*\n)*?)\1", re.MULTILINE)
"""A fence, what stands behind it, and the lines up to one that is as long."""


def format_markdown(page: SourceFile) -> str:
    """The page with each program in its canonical layout; UserError with all their mistakes."""
    pieces, found = [], list[Diagnostic]()
    end = 0
    for block in _FENCED.finditer(page.text):
        if (block[1], block[2]) != ("```", "cnn"):
            continue
        # blank lines in place of what stands before, so that diagnostics name the page's lines
        before = "\n" * (page.line_at(block.start(3)) - 1)
        try:
            text = format_source(SourceFile(page.name, before + block[3]))
        except UserError as error:
            found += error.diagnostics
            continue
        pieces += [page.text[end : block.start(3)], text]
        end = block.end(3)
    if found:
        raise UserError(found)
    return "".join([*pieces, page.text[end:]])
