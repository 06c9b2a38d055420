"""The command line: verbs, exit codes, and how errors are shown.

Exit codes: 0 all well, 1 the user's error, 2 a bug in cnnc.
"""

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

import click

from cnnc.base.errors import InternalError, UserError, fail
from cnnc.base.report import Json, report, to_json
from cnnc.cli.analyze import analyze
from cnnc.cli.bench import bench
from cnnc.cli.build import build_
from cnnc.cli.cache import cache
from cnnc.cli.check import check
from cnnc.cli.compile import compile_
from cnnc.cli.console import print_json, remark, wants_colour
from cnnc.cli.diff import diff
from cnnc.cli.env import env
from cnnc.cli.explain import explain
from cnnc.cli.export import export
from cnnc.cli.fmt import fmt
from cnnc.cli.import_ import import_
from cnnc.cli.kernel import kernel
from cnnc.cli.ops import ops
from cnnc.cli.run import run
from cnnc.cli.show import show
from cnnc.cli.tune import tune
from cnnc.files import keep_evidence
from cnnc.options import DUMP
from cnnc.version import __version__

OK, USER_ERROR, BUG, INTERRUPTED = 0, 1, 2, 130
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="cnnc")
def cli() -> None:
    """Compile convolutional networks written in .cnn files.

    Exit codes: 0 all well, 1 an error of the user, 2 a bug in cnnc.
    """


for verb in (
    *(check, run, diff, bench, tune, analyze, show, fmt, explain, ops, env, cache),
    *(compile_, build_, kernel, import_, export),
):
    cli.add_command(verb)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process."""
    sys.exit(run_command(sys.argv[1:] if args is None else args))


def run_command(args: Sequence[str]) -> int:
    """Run one command and give its exit code; whatever goes wrong is explained."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        return _run(args, as_json="--json" in takewhile("--".__ne__, args))
    except BrokenPipeError:
        # whoever read the output has enough; nothing is left to say
        sys.stdout = None
        return OK
    except OSError as error:
        sys.stdout = None  # it still holds what it could not write
        remark(f"error: the output cannot be written: {error.strerror}")
        return USER_ERROR


def _run(args: Sequence[str], *, as_json: bool) -> int:
    """The same, but for output that cannot be written."""
    stdout = sys.stdout
    try:
        code = cli.main(list(args), prog_name="cnnc", standalone_mode=False)
        if sys.stdout is not None:  # as it is where whoever called closed it
            sys.stdout.flush()  # so that what cannot be written shows here
        return code if isinstance(code, int) else OK
    except (UserError, click.ClickException) as error:
        return _show_mistake(error, as_json=as_json)
    except SystemExit:
        if sys.stdout is stdout:
            raise
        raise BrokenPipeError from None  # click replaces a stream that nobody reads, and leaves
    except (click.Abort, KeyboardInterrupt):
        remark("interrupted")
        return INTERRUPTED
    except MemoryError:
        message = "there is not enough memory"
        return _show_mistake(fail("E0504", message), as_json=as_json)
    except InternalError as error:
        found = error if error.dump else _with_dump(error, error.message, error.stage)
        return _show_bug(found, as_json=as_json)
    except Exception as error:  # every other exception is a bug by definition
        if isinstance(error, OSError) and error.errno in (errno.EPIPE, *_NO_ROOM):
            raise
        message = f"{type(error).__name__}: {error}"
        return _show_bug(_with_dump(error, message, None), as_json=as_json)


def _show_mistake(error: UserError | click.ClickException, *, as_json: bool) -> int:
    if isinstance(error, click.ClickException):
        if not as_json:
            error.show()
            return USER_ERROR
        error = _as_user_error(error)
    if as_json:
        print_json({"ok": False, "diagnostics": [to_json(each) for each in error.diagnostics]})
    else:
        remark(report(error.diagnostics, colour=wants_colour(sys.stderr)))
        if sys.stderr.isatty():
            remark(f"\nfor more: cnnc explain {error.diagnostics[0].code}")
    return USER_ERROR


def _as_user_error(error: click.ClickException) -> UserError:
    """A mistake in the use of a verb as a diagnostic."""
    text = error.format_message().removesuffix(".")
    context = getattr(error, "ctx", None)
    verb = context.command_path if context else "cnnc"
    return fail("E0803", text[:1].lower() + text[1:], help=f"see `{verb} --help`")


def _with_dump(error: Exception, message: str, stage: str | None) -> InternalError:
    text = "".join(traceback.format_exception(error))
    # Not the knobs' reader: one of them may be what is wrong.
    folder = os.environ.get(DUMP.name)
    dump = keep_evidence(Path(folder) if folder else None, "failed.traceback", text)
    return InternalError(message, stage=stage, dump=dump)


def _show_bug(error: InternalError, *, as_json: bool) -> int:
    if as_json:
        dump = None if error.dump is None else str(error.dump)
        found: Json = {"message": error.message, "stage": error.stage, "dump": dump}
        print_json({"ok": False, "diagnostics": [], "bug": found})
        return BUG
    remark(f"bug: {error}")
    remark("nothing is wrong with your input; please report this with the file named above")
    return BUG
