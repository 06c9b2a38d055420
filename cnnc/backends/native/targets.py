"""Targets by name, and LLVM's machine for a target."""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from llvmlite import binding as llvm

from cnnc.backends.native.host import (
    enabled,
    host_features,
    host_target,
    prefer_512,
    vector_unit,
)
from cnnc.base.errors import did_you_mean, fail
from cnnc.base.record import record
from cnnc.base.target import Target

NATIVE = "native"


@record
class _Model:
    """What every processor of a family has."""

    triple: str
    cpu: str
    features: str


_AVX2 = "+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe,+xsave"
_AVX512 = "+avx512bw,+avx512cd,+avx512dq,+avx512f,+avx512vl"
_MODELS: Mapping[str, _Model] = MappingProxyType(
    {
        "aarch64": _Model("aarch64-unknown-linux-gnu", "generic", "+fp-armv8,+neon"),
        "x86-64": _Model("x86_64-unknown-linux-gnu", "x86-64", "+sse,+sse2"),
        "x86-64-v3": _Model("x86_64-unknown-linux-gnu", "x86-64-v3", _AVX2),
        "x86-64-v4": _Model("x86_64-unknown-linux-gnu", "x86-64-v4", f"{_AVX2},{_AVX512}"),
    }
)


def target_names() -> tuple[str, ...]:
    """All names `named_target` knows."""
    return (NATIVE, *sorted(_MODELS))


def named_target(name: str) -> Target:
    """The target of this name; an unknown one is a user's error.

    `native` is this machine. The others are processor families with typical cache sizes and one
    core, the same on every machine: what is compiled for them does not depend on the host.
    """
    if name == NATIVE:
        return host_target()
    if name not in _MODELS:
        known = target_names()
        hint = did_you_mean(name, known) or f"known targets are {', '.join(known)}"
        raise fail("E0801", f"no target is called `{name}`", help=hint)
    model = _MODELS[name]
    unit = vector_unit(model.triple.split("-")[0], model.features)
    features = prefer_512(model.features) if unit.bits == 512 else model.features
    return Target(
        model.triple, model.cpu, features, unit.bits, unit.registers, unit.has_fma, l2_bytes=1 << 20
    )


def runs_here(target: Target) -> bool:
    """Whether this machine can execute code made for the target."""
    here = host_target()
    same = target.triple.split("-")[0] == here.triple.split("-")[0]
    # Where LLVM cannot name the host's features, equal targets are all that is certain.
    certain = not host_features() and target == here
    return same and (certain or enabled(target.features) <= enabled(host_features()))


def obstacles(target: Target) -> tuple[str, ...]:
    """Why object code for the target does not run on this machine; empty where it does.

    Other than for `runs_here`, the system must be the same: it decides about the file's format.
    """
    here = host_target()
    if _platform(target) != _platform(here):
        return (f"it is for {target.triple}, and this machine is {here.triple}",)
    if runs_here(target):
        return ()
    missing = sorted(enabled(target.features) - enabled(host_features()))
    return (f"this processor ({here.cpu}) lacks {', '.join(missing) or 'what it asks for'}",)


def _platform(target: Target) -> tuple[str, str]:
    """Architecture and system of a triple."""
    architecture, *rest = target.triple.split("-")
    known = ("linux", "darwin", "macosx", "windows")
    return architecture, next((s for s in known if any(s in part for part in rest)), "")


def target_machine(target: Target, *, jit: bool) -> llvm.TargetMachine:
    """LLVM's machine for the target; `target_data` of the result is its data layout.

    With `jit`, for code that runs in this process: an engine may put a function far from its
    constants and from what it calls, so addresses are 64 bits wide (the large code model). Objects
    to add to an engine need it as well. Without, for assembly and objects that a linker will see:
    position independent, small code model.

    An engine takes its machine over: make one machine per engine.
    """
    _initialize(is_native=target.triple == llvm.get_process_triple())
    found = llvm.Target.from_triple(target.triple)
    reloc, model = ("default", "jitdefault") if jit else ("pic", "small")
    return found.create_target_machine(
        cpu=target.cpu, features=target.features, opt=3, reloc=reloc, codemodel=model, jit=jit
    )


@cache
def _initialize(*, is_native: bool) -> None:
    if is_native:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        llvm.initialize_native_asmparser()
    else:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
