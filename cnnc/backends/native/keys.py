"""Keys of machine code: all that it is made from."""

from dataclasses import replace
from functools import cache
from hashlib import sha256

from cnnc.base.resources import digest_sources
from cnnc.base.target import Target


def code_key(text: str, target: Target) -> str:
    """That of the code for printed loops, or for a module of LLVM IR."""
    # Caches and cores decide about loops; code for given loops does not depend on them.
    facts = replace(target, l1_bytes=0, l2_bytes=0, l3_bytes=0, cores=1, mixed_cores=False)
    return sha256("\n".join([compiler(), repr(facts), text]).encode()).hexdigest()


@cache
def compiler() -> str:
    """What turns loops into code: LLVM, and the files of this backend and of what it stands on."""
    # not above: what has no machine code needs no LLVM
    import llvmlite
    from llvmlite import binding as llvm

    digest = digest_sources("backends/native", "loop", "base")
    return f"{llvmlite.__version__} {llvm.llvm_version_info} {digest}"
