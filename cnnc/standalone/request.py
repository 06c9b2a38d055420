"""What is to be built: forms of output, for which machines, within which limits."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from cnnc.base.errors import UserError, did_you_mean, fail
from cnnc.base.record import record
from cnnc.options import CUDA, Options, check_seed, check_threads

FORMS: Mapping[str, str] = MappingProxyType(
    {
        "h": "the header; comes with every form of code",
        "c": "C99 source, and C source with the weights",
        "weights": "the weights in a file, to be loaded or swapped",
        "ll": "LLVM IR before optimisation",
        "asm": "assembly",
        "obj": "an object file",
        "a": "a static library",
        "so": "a shared library, named as the system does",
        "py": "a Python module that calls the shared library",
        "pool": "threads for the library: C source, and part of `so`",
        "cuda": "CUDA C++ source with all that nvcc needs, in a folder of its own",
        "project": "C source with Makefile, CMakeLists.txt, tests, benchmark and README",
    }
)
"""Every form of output by its name, and what it is."""
_OTHER_WORDS = MappingProxyType(
    {
        "header": "h",
        "source": "c",
        "llvm": "ll",
        "ir": "ll",
        "assembly": "asm",
        "s": "asm",
        "object": "obj",
        "o": "obj",
        "static": "a",
        "lib": "a",
        "library": "so",
        "shared": "so",
        "dylib": "so",
        "dll": "so",
        "python": "py",
        "threads": "pool",
    }
)
"""What else forms of output are called, by whoever does not know their names here."""
CODE = frozenset({"c", "ll", "asm", "obj", "a", "so", "py", "pool", "project"})
"""Forms of code, which the header belongs to."""
DEFAULT_FORMS = ("obj",)
BUILTIN, EXTERNAL = "builtin", "external"


@record
class Limits:
    """Bytes that the build may take at most; None where nobody asked."""

    ram: int | None = None
    flash: int | None = None
    stack: int | None = None

    def __post_init__(self) -> None:
        for size in (self.ram, self.flash, self.stack):
            if size is not None and not isinstance(size, int):
                raise fail("E0803", f"a limit is a number of bytes, not {size!r}")


@record
class Request:
    """What is asked for.

    `target` is a name `driver.find_target` knows, perhaps with several processors behind a colon:
    then the code chooses between them as it runs. `threads` is how many layers are split for.
    `weights` says whether they are part of the code (`builtin`) or come in a file (`external`).
    `seed` is for golden vectors. With `force`, files that somebody edited are replaced too.
    """

    forms: tuple[str, ...] = DEFAULT_FORMS
    target: str = "native"
    name: str | None = None
    threads: int = 1
    weights: str = BUILTIN
    exact: bool = False
    tuning: Path | None = None
    cc: str | None = None
    seed: int = 0
    force: bool = False
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        names = (("a form", each) for each in self.forms)
        for what, name in (*names, ("the target", self.target), ("the name", self.name)):
            if not isinstance(name, str | None):
                raise fail("E0803", f"{what} is a text, not {name!r}")
        check_seed(self.seed)
        for form in self.forms:
            if form not in FORMS:
                raise _unknown_form(form)
        if not self.forms:
            raise fail("E0803", "no form of output is asked for", help=f"one of {', '.join(FORMS)}")
        check_threads(self.threads)
        self._check_cuda()
        if self.weights not in (BUILTIN, EXTERNAL):
            raise fail("E0803", f"weights are `{BUILTIN}` or `{EXTERNAL}`, not `{self.weights}`")

    def _check_cuda(self) -> None:
        is_cuda = self.target.partition(":")[0] == CUDA
        if CUDA in self.forms and (set(self.forms) != {CUDA} or not (is_cuda or self.is_native)):
            help = "--emit cuda, alone, with a target such as `cuda:sm_90` or none"
            raise fail("E0803", "`cuda` is for GPUs, and in a folder of its own", help=help)
        if is_cuda and CUDA not in self.forms:
            raise fail("E0803", f"`{self.forms[0]}` is not for `{self.target}`", help="--emit cuda")

    @property
    def is_native(self) -> bool:
        """Whether nobody named a target."""
        return self.target == "native"

    @property
    def gpu(self) -> Options | None:
        """What code for a GPU is made for; None where none is asked for."""
        if CUDA not in self.forms:
            return None
        return Options(CUDA if self.is_native else self.target, CUDA, exact=self.exact)

    @property
    def has_weights(self) -> bool:
        """Whether the code has its weights built in."""
        return self.weights == BUILTIN

    def wants(self, *forms: str) -> bool:
        """Whether any of the forms is asked for, directly or as part of another."""
        return bool(self.all_forms & set(forms))

    @property
    def all_forms(self) -> frozenset[str]:
        """The forms asked for, with those that belong to them."""
        found = set(self.forms)
        found |= {"so"} if "py" in found else set()
        found |= {"c"} if "project" in found else set()
        found |= {"weights"} if "c" in found else set()
        found |= {"weights"} if not self.has_weights else set()
        found |= {"h"} if found & CODE else set()
        return frozenset(found)


def _unknown_form(name: str) -> UserError:
    meant = _OTHER_WORDS.get(name.lower())
    help = f"did you mean `{meant}`?" if meant else did_you_mean(name, FORMS)
    help = help or f"there are {', '.join(FORMS)}"
    return fail("E0803", f"no form of output is called `{name}`", help=help)
