"""What can go wrong: a user's error with its diagnostics, or a bug in cnnc; and all the codes."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from cnnc.base.record import record
from cnnc.base.source import Span

Severity = Literal["error", "warning"]

CODES: Mapping[str, str] = MappingProxyType(
    {
        # E01xx: the text is not in the language
        "E0101": "the file does not start with a language version this cnnc knows",
        "E0102": "a character, number or string is malformed",
        "E0103": "brackets do not match",
        "E0104": "the text does not follow the grammar",
        "E0105": "the file is not UTF-8 text",
        # E02xx: names, arguments, values
        "E0201": "a name is not defined",
        "E0202": "no operator or block has this name",
        "E0203": "no argument, parameter or member has this name",
        "E0204": "an argument is missing",
        "E0205": "there is one argument too many",
        "E0206": "a value is of the wrong kind or out of range",
        "E0207": "a name is defined twice",
        "E0208": "a name is used before its definition",
        "E0209": "a block uses itself",
        "E0210": "a setting does not fit the file's params",
        "E0211": "it is not clear which net is meant",
        "E0212": "a pipeline or net lacks an end",
        "E0213": "arithmetic has no result",
        "E0214": "files import each other in a circle",
        # E03xx: shapes and types
        "E0301": "shapes do not fit each other",
        "E0302": "an attribute does not fit its input",
        "E0303": "element types do not fit each other",
        "E0304": "an assertion of the file does not hold",
        "E0305": "the batch cannot be a range",
        # E04xx: weights
        "E0401": "the weights file lacks a parameter",
        "E0402": "the weights file holds a tensor that nothing uses",
        "E0403": "a weight has the wrong shape",
        "E0404": "a weight has the wrong element type",
        "E0405": "a renaming rule is invalid",
        "E0406": "a file of arrays is malformed",
        "E0407": "a path leads out of the model's folder",
        "E0408": "the net does not say where its weights come from",
        "E0409": "a check file does not fit the net",
        # E05xx: limits
        "E0501": "the file is too large",
        "E0502": "the text is nested too deeply",
        "E0503": "the net expands to too many operators, or its lists to too many items",
        "E0504": "the net needs too much memory",
        "E0505": "a number is too large",
        "E0506": "the net imports too many files, or too much text",
        # E06xx: arrays given at run time
        "E0601": "an array has the wrong shape",
        "E0602": "an array has the wrong element type",
        "E0603": "an input is missing or unknown",
        "E0604": "results are out of tolerance",
        "E0605": "a bound call cannot be made or changed",
        # E07xx: files
        "E0701": "a file does not exist",
        "E0702": "a file cannot be read",
        "E0703": "a file's format is not known",
        "E0704": "a file cannot be written",
        "E0705": "a tune file is malformed",
        # E08xx: targets, backends, tools, options
        "E0801": "the target or backend is not known",
        "E0802": "a tool or library that this needs is missing",
        "E0803": "an option is invalid",
        "E0804": "a tune file is for another target",
        "E0805": "a choice of a tune file is not possible",
        "E0806": "a tune file says nothing about the net",
        "E0807": "the network takes more memory than it may",
        # E09xx: models of other formats
        "E0901": "a model is malformed",
        "E0902": "a model has parts that cnnc cannot take",
        "E0903": "a model leaves extents open",
        "E0904": "a network has what the other format cannot say",
        # W02xx: names that do nothing
        "W0201": "a name is never used",
        # W09xx: the net as a whole
        "W0901": "the net has no convolution, so it is no CNN",
    }
)
"""Every code with its title; the first two digits are the family. Operators need no new code."""


@record
class Diagnostic:
    """One thing to tell the user; lowercase, no full stop; only `help` says how to fix it."""

    code: str
    message: str
    span: Span | None = None
    label: str = ""
    notes: tuple[str, ...] = ()
    help: str | None = None
    severity: Severity = "error"

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise InternalError(f"diagnostic code {self.code} is not in the table of codes")

    def __str__(self) -> str:
        place = f"{self.span}: " if self.span else ""
        label = f" ({self.label})" if self.label else ""
        return f"{place}{self.severity}[{self.code}]: {self.message}{label}"

    def in_full(self) -> str:
        """The line above, and below it the notes and the help, for where no report is printed."""
        more = [f"note: {note}" for note in self.notes]
        more += [f"help: {self.help}"] if self.help else []
        return "\n  ".join([str(self), *more])


class CnncError(Exception):
    """Anything cnnc raises on purpose."""


class UserError(CnncError):
    """The input is wrong: exit status 1, all diagnostics of the stage at once."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        if not diagnostics:
            raise InternalError("a user error without a diagnostic")
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(each.in_full() for each in self.diagnostics))

    def __reduce__(self) -> tuple[type["UserError"], tuple[tuple[Diagnostic, ...]]]:
        return UserError, (self.diagnostics,)


class InternalError(CnncError):
    """A bug in cnnc: exit status 2, names the stage or pass and the dump to send."""

    def __init__(self, message: str, *, stage: str | None = None, dump: Path | None = None) -> None:
        self.message = message
        self.stage = stage
        self.dump = dump
        where = f" in {stage}" if stage else ""
        see = f"; see {dump}" if dump else ""
        super().__init__(f"this is a bug in cnnc{where}: {message}{see}")

    def __reduce__(self) -> tuple[object, tuple[str, str | None, Path | None]]:
        return _internal_error, (self.message, self.stage, self.dump)


def _internal_error(message: str, stage: str | None, dump: Path | None) -> InternalError:
    return InternalError(message, stage=stage, dump=dump)


def fail(
    code: str,
    message: str,
    span: Span | None = None,
    *,
    label: str = "",
    notes: tuple[str, ...] = (),
    help: str | None = None,
) -> UserError:
    """A `UserError` of one diagnostic, to raise where the stage cannot go on."""
    return UserError([Diagnostic(code, message, span, label, notes, help)])


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """Another name that `name` most likely was meant to be, or `None`."""
    known = sorted(set(candidates) - {name})
    by_folded: dict[str, str] = {}
    for each in known:
        by_folded.setdefault(each.lower().replace("_", ""), each)
    matches = get_close_matches(name.lower().replace("_", ""), by_folded, n=1, cutoff=0.6)
    return by_folded[matches[0]] if matches else None


def did_you_mean(name: str, candidates: Iterable[str]) -> str | None:
    """Text for `help` that names the nearest candidate, or `None` when none is near."""
    near = nearest(name, candidates)
    return f"did you mean `{near}`?" if near else None
