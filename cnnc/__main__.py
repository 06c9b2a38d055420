"""The command `cnnc`, and `python -m cnnc`."""

import os
import signal
from types import FrameType

INTERRUPTED = 130


def main() -> None:
    """Run the command line and leave the process; ^C while modules are imported ends it at once."""
    # whoever started this may want it to go on: then another handler is there
    takes_over = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if takes_over:
        signal.signal(signal.SIGINT, _leave)
    from cnnc.cli import main as run

    if takes_over:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


def _leave(signum: int, frame: FrameType | None) -> None:
    """Nothing is begun yet that would have to be put in order."""
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
