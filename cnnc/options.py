"""Options that change the code cnnc makes, and CNNC_* variables: where to look, what to show."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from cnnc.base.errors import fail
from cnnc.base.record import record

MAX_THREADS = 1024
CUDA = "cuda"
"""The backend, and the target, of NVIDIA's GPUs."""
REFERENCE = "reference"
"""The backend that compiles nothing: the operators' references."""


@record
class Options:
    """What a network is compiled for: a target's name, a backend's name, a number of threads.

    With `exact`, no algorithm is used that rounds more than the sums that define an operator.
    `tuning` is a tune file, whose choices replace estimates.
    """

    target: str = "native"
    backend: str = "native"
    threads: int = 1
    exact: bool = False
    tuning: Path | None = None

    def __post_init__(self) -> None:
        for what, name in (("target", self.target), ("backend", self.backend)):
            if not isinstance(name, str):
                raise fail("E0801", f"the {what} is a name, not {name!r}")
        if not isinstance(self.exact, bool):
            raise fail("E0801", f"`exact` is True or False, not {self.exact!r}")
        if not isinstance(self.tuning, Path | None):
            raise fail("E0801", f"`tuning` is the path of a tune file, not {self.tuning!r}")
        if self.backend == REFERENCE and self.tuning is not None:
            raise fail(
                "E0803",
                f"the tune file `{self.tuning}` says nothing to the backend `{REFERENCE}`",
                help="the reference has no choices: leave the file away",
            )
        check_threads(self.threads)

    @property
    def completed(self) -> "Options":
        """With the backend that the target asks for, or the other way round, where one is given."""
        is_cuda = self.target.partition(":")[0] == CUDA
        if is_cuda and self.backend == "native":
            return replace(self, backend=CUDA)
        if self.backend == CUDA and self.target == "native":
            return replace(self, target=CUDA)
        if self.backend == CUDA and not is_cuda:
            help = "leave the target away, or name one such as `cuda:sm_90`"
            raise fail("E0803", f"the backend `cuda` has no target `{self.target}`", help=help)
        return self


def target_with(target: str, cpu: str | None) -> str:
    """The name of a target and a processor of it in one word; UserError where both name one."""
    if cpu is None or not isinstance(target, str):  # which `Options` refuses
        return target
    if not isinstance(cpu, str):
        raise fail("E0801", f"the cpu is a name, not {cpu!r}")
    if ":" in target:
        is_cuda = target.partition(":")[0] == CUDA
        help = f"write `{target},{cpu}`" if is_cuda else "name it once"
        raise fail("E0803", f"the cpu is `{cpu}`, and `{target}` names a processor too", help=help)
    return f"{target}:{cpu}"


def check_threads(threads: object) -> None:
    """UserError for what is no number of threads."""
    if not isinstance(threads, int) or isinstance(threads, bool) or not 1 <= threads <= MAX_THREADS:
        raise fail("E0803", f"threads must be an integer from 1 to {MAX_THREADS}, not {threads!r}")


def check_seed(seed: object) -> None:
    """UserError for what nothing can be drawn by."""
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise fail("E0803", f"a seed is an integer from 0 on, not {seed!r}")


@record
class Knob:
    """An environment variable: its name, what may be written in it, its default, what it does."""

    name: str
    accepts: str
    default: str
    doc: str


@record
class Knobs:
    """The knobs' values. None of them changes the code that is made."""

    debug: int = 0
    dump: Path | None = None
    time: bool = False

    @property
    def look(self) -> bool:
        """Whether somebody wants to see how code is made."""
        return bool(self.debug or self.dump or self.time)


DEBUG = Knob(
    "CNNC_DEBUG",
    "0..4",
    "0",
    "print to stderr: 1 the passes that changed something, 2 the graph after each, "
    "3 the scheduled loops, 4 the generated code",
)
DUMP = Knob("CNNC_DUMP", "folder", "", "write the graph after every pass, and the loops, there")
TIME = Knob("CNNC_TIME", "0 or 1", "0", "print to stderr how long each stage took")
PATH = Knob(
    "CNNC_PATH",
    f"folders, joined by `{os.pathsep}`",
    "",
    "where imported files are looked for, after the importing file's folder and --import-path",
)
CACHE = Knob(
    "CNNC_CACHE",
    "folder",
    "",
    "keep machine code there instead of the user's cache folder; `off`: nowhere",
)
CACHE_SIZE = Knob(
    "CNNC_CACHE_SIZE",
    "bytes, such as 64M",
    "512M",
    "how much to keep at most; K, M and G count in 1024s",
)
KNOBS = (DEBUG, DUMP, TIME, PATH, CACHE, CACHE_SIZE)


def read_knobs(environment: Mapping[str, str] = os.environ) -> Knobs:
    """The knobs as the environment sets them; a value that does not fit is a user's error."""
    dump = environment.get(DUMP.name, DUMP.default)
    return Knobs(
        debug=_read(DEBUG, environment, lambda text: ("0", "1", "2", "3", "4").index(text)),
        dump=Path(dump) if dump else None,
        time=bool(_read(TIME, environment, lambda text: ("0", "1").index(text))),
    )


def read_import_path(environment: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """The folders of CNNC_PATH."""
    text = environment.get(PATH.name, PATH.default)
    return tuple(Path(each) for each in text.split(os.pathsep) if each)


def read_cache_bytes(environment: Mapping[str, str] = os.environ) -> int:
    """The size CNNC_CACHE_SIZE allows the cache, in bytes."""
    return _read(CACHE_SIZE, environment, _bytes)


def _bytes(text: str) -> int:
    scale = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:].upper())
    number = text[:-1] if scale else text
    if not (number.isascii() and number.isdigit() and len(number) < 16):
        raise ValueError(text)
    return int(number) * (scale or 1)


def _read(knob: Knob, environment: Mapping[str, str], parse: Callable[[str], int]) -> int:
    text = environment.get(knob.name, "") or knob.default
    try:
        return parse(text)
    except ValueError:
        message = f"the environment variable {knob.name} is {text!r}, expected {knob.accepts}"
        raise fail("E0803", message) from None
