"""Programs inside Markdown: the blocks fenced as ```cnn."""

import re

from cnnc.base.errors import Diagnostic, UserError
from cnnc.base.source import SourceFile
from cnnc.frontend.formatting.format import format_source

_FENCED = re.compile(r"^```cnn\n(.*?)^```", re.DOTALL | re.MULTILINE)


def format_markdown(page: SourceFile) -> str:
    """The page with each program in its canonical layout; UserError with all their mistakes."""
    pieces, found = [], list[Diagnostic]()
    end = 0
    for block in _FENCED.finditer(page.text):
        # blank lines in place of what stands before, so that diagnostics name the page's lines
        before = "\n" * (page.line_at(block.start(1)) - 1)
        try:
            text = format_source(SourceFile(page.name, before + block[1]))
        except UserError as error:
            found += error.diagnostics
            continue
        pieces += [page.text[end : block.start(1)], text]
        end = block.end(1)
    if found:
        raise UserError(found)
    return "".join([*pieces, page.text[end:]])
