"""`python -m tests.fuzz KIND COUNT SEED`: mutated inputs of one kind, as many as asked for.

Every input must end in success or in a user's error that prints, in bounded time and memory.
Prints a JSON object with counts and the failures, and exits with 1 if there are any. The limits
hold for this process, so it is started by the test as one of its own.
"""

import json
import resource
import signal
import sys
import traceback
import warnings
from collections import Counter
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from cnnc.base.errors import UserError
from cnnc.base.report import report
from tests.fuzz.targets import KINDS, Changes, Run

SECONDS = 10
MEMORY = 2 << 30
"""Address space beyond what the process has when it starts."""
SHOWN = 5


def main(kind: str, count: int, seed: int) -> int:
    """Run `count` inputs and report."""
    random = Random(f"{kind} {seed}")
    outcomes: Counter[str] = Counter()
    failures = []
    with TemporaryDirectory() as folder:
        run = KINDS[kind](Path(folder), Changes())
        _limit()
        for number in range(count):
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                outcomes[_outcome(run, random)] += 1
            except Exception:
                outcomes["failure"] += 1
                failures.append({"number": number, "error": traceback.format_exc()[-3000:]})
        signal.setitimer(signal.ITIMER_PROF, 0)
    print(json.dumps({"outcomes": outcomes, "failures": failures[:SHOWN]}))
    return 1 if failures else 0


def _outcome(run: Run, random: Random) -> str:
    """`success`, or the code of the first of the errors, which must print."""
    try:
        run(random)
    except UserError as error:
        text = report(error.diagnostics, colour=False)
        return error.diagnostics[0].code if text else "an empty report"
    return "success"


def _limit() -> None:
    """Bound time for one input and memory for all; any warning is a failure."""
    warnings.simplefilter("error")
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    used = pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))

    def stop(signum: int, frame: object) -> None:
        raise TimeoutError(f"more than {SECONDS} seconds of processor time")

    signal.signal(signal.SIGPROF, stop)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
