"""Targets by name, and LLVM's machine for a target."""

from dataclasses import replace
from functools import cache

from llvmlite import binding as llvm

from cnnc.backends.native.host import enabled, host_features, host_target
from cnnc.base.errors import UserError, did_you_mean, fail
from cnnc.base.processors import FAMILIES, Processor, default_cpu, has_all_of, processors_of
from cnnc.base.target import Target
from cnnc.base.triples import Triple, is_triple, parse_triple

NATIVE = "native"
_SOFT = "+soft-float,-fpregs,-mve,-neon"


def target_names() -> tuple[str, ...]:
    """The short names `named_target` knows: families of processors."""
    return (NATIVE, *sorted(FAMILIES))


def named_target(name: str) -> Target:
    """The target of this name; an unknown one is a user's error.

    `native` is this machine. Others are a family, such as `x86-64-v3`, or a triple, such as
    `aarch64-linux-gnu`, with typical cache sizes and one core, the same on every machine: what is
    compiled for them does not depend on the host. `:cpu` behind any of them names a processor.
    """
    family, colon, cpu = name.partition(":")
    if name == NATIVE:
        return host_target()
    if family == NATIVE:
        triple = parse_triple(llvm.get_process_triple())
    elif family in FAMILIES:
        text, own = FAMILIES[family]
        triple, cpu = parse_triple(text), cpu if colon else own
        known = processors_of(triple.architecture)
        if cpu in known and not has_all_of(family, known[cpu]):
            raise _contradiction(family, text, known[cpu])
    elif is_triple(family):
        triple = parse_triple(family)
    else:
        raise _unknown_target(family)
    return _target(triple, cpu if cpu or colon else _default_cpu(family, triple))


def split_versions(name: str) -> tuple[str, ...]:
    """`family:a,b` as `family:a` and `family:b`: names of one target each."""
    family, colon, cpus = name.partition(":")
    return tuple(f"{family}:{cpu}" for cpu in cpus.split(",")) if colon else (name,)


def cpu_names(name: str) -> tuple[str, ...]:
    """What may be named behind a family or a triple."""
    known, family = processors_of(_plain(named_target(name).architecture)), name.partition(":")[0]
    if family not in FAMILIES:
        return tuple(known)
    return tuple(each for each in known if has_all_of(family, known[each]))


def _contradiction(family: str, triple: str, processor: Processor) -> UserError:
    """A processor that lacks what the family's name promises."""
    wider = [
        name
        for name, (other, _) in FAMILIES.items()
        if other == triple and has_all_of(name, processor)
    ]
    target = processor.name if processor.name in FAMILIES else f"{wider[0]}:{processor.name}"
    return fail(
        "E0803",
        f"the processor `{processor.name}` contradicts the target `{family}`",
        help=f"the target for it is `{target}`",
    )


def _unknown_target(name: str) -> UserError:
    known = target_names()
    hint = did_you_mean(name, known)
    hint = hint or f"known targets are {', '.join(known)}, and triples such as aarch64-linux-gnu"
    return fail("E0801", f"no target is called `{name}`", help=hint)


def _default_cpu(name: str, triple: Triple) -> str:
    if triple.architecture == "arm":
        names = ", ".join(processors_of("arm"))
        raise fail("E0801", f"`{name}` does not say which processor", help=f"add one of {names}")
    return default_cpu(_plain(triple.architecture))


def _target(triple: Triple, cpu: str) -> Target:
    known = processors_of(_plain(triple.architecture))
    if "," in cpu:
        message = f"`{cpu}` are several processors, and this is for one"
        raise fail("E0801", message, help="name one of them")
    if cpu not in known:
        hint = did_you_mean(cpu, known) or f"known are {', '.join(known)}"
        message = f"no processor of {triple.architecture} is called `{cpu}`"
        raise fail("E0801", message, help=hint)
    found = known[cpu]
    if triple.architecture == "arm":
        triple = replace(triple, architecture=found.architecture)
    if triple.environment.endswith("hf") and not found.has_float:
        raise fail(
            "E0801",
            f"`{triple}` passes numbers in floating-point registers, and {cpu} has none",
            help=f"write `{str(triple).removesuffix('hf')}`",
        )
    if not triple.has_hard_float and found.has_float:
        found = replace(found, features=_SOFT, registers=8, has_fma=False, has_float=False)
    return Target(
        *(str(triple), found.cpu, found.features, found.bits, found.registers, found.has_fma),
        l1_bytes=found.l1_bytes,
        l2_bytes=found.l2_bytes,
        is_small=found.is_small,
        vector_units=found.units,
    )


def _plain(architecture: str) -> str:
    return "aarch64" if architecture == "arm64" else architecture


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
