"""Tune files: what was measured to be fastest for each layer, as text."""

import re
from collections.abc import Mapping
from dataclasses import asdict, field, replace
from hashlib import sha256
from pathlib import Path

from cnnc.base.choice import KEY_LENGTH, Choice, Choices, Chosen
from cnnc.base.errors import UserError, fail
from cnnc.base.record import record
from cnnc.base.source import SourceFile, Span
from cnnc.base.target import VECTOR_UNITS, Target
from cnnc.files import replace_file

SUFFIX = ".tune"
_NAME = "cnnc tune "
FIRST = f"{_NAME}1"
"""The number is raised whenever lines, keys or choices change their meaning."""
MAX_BYTES = 1 << 22
_HEADER = (
    f"# {'key':{KEY_LENGTH - 2}} {'default µs':>12} {'best µs':>12} {'tried':>5} {'rank':>5}  best"
)
_MICROSECONDS = r"\d{1,9}\.\d\d"
_ENTRY = re.compile(
    rf"(?P<key>[0-9a-f]{{{KEY_LENGTH}}}) +(?P<default>{_MICROSECONDS}) +(?P<best>{_MICROSECONDS})"
    r" +(?P<tried>\d{1,6}) +(?P<rank>-|-?[01]\.\d\d)"
    # no two ways to match a space, which would take quadratic time in long lines
    r" +(?P<choice>[^# ]+(?: [^# ]+)*) +# (?P<layer>.*)"
)
_SUM = re.compile(r"sum ([0-9a-f]{64})")
_AGAIN = "`cnnc tune` writes such files; remove this one and run it again"
_ANOTHER = "name a file that `cnnc tune` wrote: this is something else"


@record
class Entry:
    """What was measured for one layer: microseconds of the default and of the best choice.

    `tried` choices were measured; `rank` is how well their estimates ranked them, from -1 to 1,
    None where too few were measured. `layer` is the name of a layer with this key.
    """

    key: str
    choice: Choice
    default_us: float
    best_us: float
    tried: int
    rank: float | None
    layer: str
    span: Span | None = field(default=None, compare=False)

    def __str__(self) -> str:
        rank = "-" if self.rank is None else f"{self.rank:.2f}"
        return (
            f"{self.key} {self.default_us:12.2f} {self.best_us:12.2f} {self.tried:5} {rank:>5}"
            f"  {self.choice}  # {self.layer}"
        )


@record
class TuneFile:
    """The entries by key, and the target they were measured on (see `target_line`)."""

    target: str
    entries: Mapping[str, Entry]

    def format(self) -> str:
        """The text, the sum of what stands before it in the last line."""
        lines = [FIRST, self.target, _HEADER, *map(str, self.entries.values())]
        text = "".join(f"{line}\n" for line in lines)
        return f"{text}sum {sha256(text.encode()).hexdigest()}\n"

    def choices(self, target: Target, *, exact: bool) -> Choices:
        """What the passes and lowering look up."""
        entries = {key: Chosen(each.choice, each.span) for key, each in self.entries.items()}
        return Choices(entries, facts_of(target, exact=exact))


def target_line(target: Target) -> str:
    """The target as a tune file names it.

    All facts but the number of cores: a choice is possible on any number of them, and into how many
    parts a layer is split for them is no part of it.
    """
    facts = asdict(target)
    del facts["cores"], facts["mixed_cores"]
    # as files say that were written before there were such targets
    if not target.is_small:
        del facts["is_small"]
    if target.vector_units == VECTOR_UNITS:
        del facts["vector_units"]
    digest = sha256(repr(sorted(facts.items())).encode()).hexdigest()[:KEY_LENGTH]
    return f"target {target.triple} {target.cpu or 'generic'} {digest}"


def facts_of(target: Target, *, exact: bool) -> str:
    """What the keys of all layers depend on beside the layer."""
    return f"{FIRST}\n{target_line(target)}\n{'exact' if exact else 'any'}"


def read_choices(path: Path | None, target: Target, *, exact: bool) -> Choices:
    """The choices of the file; none without one. UserError for a file of another target too."""
    if path is None:
        return Choices()
    choices = read_tune_file(path, target).choices(target, exact=exact)
    return replace(choices, source=str(path))


def write_tune_file(path: Path, tuned: TuneFile) -> None:
    """Write the file, whole or not at all; UserError where it cannot be written."""
    replace_file(path, tuned.format().encode())


def read_tune_file(path: Path, target: Target, another: str = _ANOTHER) -> TuneFile:
    """What the file holds; UserError where it is damaged or was measured on another target.

    `another` says what to do where it is no tune file at all.
    """
    source = SourceFile(str(path), _read_text(path))
    lines = list(_lines(source))
    if not lines or lines[0].excerpt != FIRST:
        span = lines[0] if lines else source.span(0, 0)
        help = _AGAIN if span.excerpt.startswith(_NAME) else another
        what = "is no tune file that this cnnc reads"
        raise _malformed(path, what, span, f"expected `{FIRST}`", help)
    _check_sum(path, source, lines)
    expected = target_line(target)
    if len(lines) < 3 or not lines[1].excerpt.startswith("target "):
        raise _malformed(path, "is damaged", lines[1], "expected the target")
    if lines[1].excerpt != expected:
        raise fail(
            "E0804",
            f"`{path}` was measured on another target",
            lines[1],
            label=f"this is {expected.removeprefix('target ')}",
            help="tune on this machine, into a file of its own, or leave the file away",
        )
    entries: dict[str, Entry] = {}
    for line in lines[2:-1]:
        if not line.excerpt.startswith("#"):
            entry = _entry(path, line)
            if entry.key in entries:
                raise _malformed(path, "is damaged", line, "this layer has an entry already")
            entries[entry.key] = entry
    return TuneFile(expected, entries)


def _read_text(path: Path) -> str:
    try:
        if path.is_fifo():  # opening a pipe without a writer would wait for one
            raise fail("E0702", f"`{path}` is a pipe, not a file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        help = "`cnnc tune` makes one"
        raise fail("E0701", f"there is no file `{path}`", help=help) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise fail("E0702", f"`{path}` cannot be read", notes=(reason or "",)) from None
    if len(data) > MAX_BYTES:
        raise fail("E0501", f"`{path}` is larger than {MAX_BYTES} bytes")
    # what is no UTF-8 does not have the right sum
    return data.decode(errors="replace").replace("\r\n", "\n")


def _lines(source: SourceFile) -> list[Span]:
    """The lines, without what stands behind the last line end if that is nothing."""
    spans, start = [], 0
    for line in source.text.removesuffix("\n").split("\n"):
        spans.append(source.span(start, start + len(line)))
        start += len(line) + 1
    return spans


def _check_sum(path: Path, source: SourceFile, lines: list[Span]) -> None:
    last = lines[-1]
    found = _SUM.fullmatch(last.excerpt)
    if not found:
        raise _malformed(path, "is not whole", last, "expected the sum of the file")
    if sha256(source.text[: last.start].encode()).hexdigest() != found[1]:
        raise _malformed(path, "was changed after it was written", last, "not the sum of this text")


def _entry(path: Path, line: Span) -> Entry:
    found = _ENTRY.fullmatch(line.excerpt)
    if not found:
        raise _malformed(path, "is damaged", line, "expected key, times, ranks and a choice")
    start = line.start + found.start("choice")
    span = line.source.span(start, start + len(found["choice"]))
    try:
        choice = Choice.parse(found["choice"])
    except ValueError:
        label = "expected an algorithm and its sizes"
        raise _malformed(path, "is damaged", span, label) from None
    return Entry(
        found["key"],
        choice,
        float(found["default"]),
        float(found["best"]),
        int(found["tried"]),
        None if found["rank"] == "-" else float(found["rank"]),
        found["layer"],
        span,
    )


def _malformed(path: Path, what: str, span: Span, label: str, help: str = _AGAIN) -> UserError:
    return fail("E0705", f"`{path}` {what}", span, label=label, help=help)
