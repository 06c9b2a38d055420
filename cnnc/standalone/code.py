"""What the backends make of a network that stands alone."""

from typing import TYPE_CHECKING

from cnnc.base.errors import fail
from cnnc.base.target import Target

if TYPE_CHECKING:
    from cnnc.backends.native.standalone import Code, Version
    from cnnc.standalone.unit import Unit


def check_versions(unit: "Unit") -> None:
    """UserError where a form of output cannot be for several processors."""
    if len(unit.targets) == 1:
        return
    one = sorted({"c", "project", "asm"} & unit.request.all_forms)
    if one:
        raise fail(
            "E0803",
            f"`{one[0]}` is for one processor, and {len(unit.targets)} are named",
            help="name one in --cpu, or emit obj, a, so or ll",
        )


def check_archive(target: Target) -> None:
    """UserError where static libraries are other archives than those of GNU."""
    if any(word in target.triple for word in ("darwin", "macosx", "ios")):
        raise fail(
            "E0801",
            f"static libraries of `{target.triple}` are not written",
            help="emit `obj`, and link the object or make a library with `libtool -static`",
        )


def c_source(unit: "Unit") -> str:
    """C99 source, the weights apart."""
    from cnnc.backends.c.emit_source import Form, Weights, emit_source

    (lowered,) = unit.lowered
    form = Form(
        weights=Weights.EXTERNAL if unit.request.has_weights else Weights.ABSENT,
        header=f"{unit.name}.h",
        payload=unit.abi.payloads[0],
        shaped={lowered.program.steps[layer.step].kernel: layer.kernel for layer in lowered.layers},
    )
    return emit_source(lowered.program, unit.targets[0], unit.abi, form)


def machine_code(unit: "Unit") -> "Code":
    """Object, assembly and what LLVM says of them, the weights apart."""
    from cnnc.backends.native.standalone import compile_standalone

    return compile_standalone(_versions(unit), unit.abi, has_weights=unit.request.has_weights)


def llvm_text(unit: "Unit") -> str:
    """LLVM IR before optimisation, the weights apart."""
    from cnnc.backends.native.standalone import standalone_source

    return standalone_source(_versions(unit), unit.abi, unit.request.has_weights)


def weights_code(unit: "Unit") -> bytearray:
    """An object with the weights."""
    from cnnc.backends.native.standalone import weights_object

    return weights_object(_versions(unit), unit.abi)


def symbols(unit: "Unit") -> tuple[str, ...]:
    """The functions of the interface."""
    verbs = ["run", "run_part", "strerror", "weights_open"]
    verbs += ["weights_builtin"] if unit.request.has_weights else []
    return tuple(f"{unit.name}_{verb}" for verb in verbs)


def weights_symbol(unit: "Unit") -> str:
    """What the weights are called in objects."""
    return f"{unit.name}_weights_data"


def code_bytes(data: bytes) -> int:
    """How much of an object a linker puts into a program: code, and constants of the code."""
    if data.startswith(_WASM):
        return _wasm_bytes(data)
    # not above: what is only written as C needs no LLVM
    from llvmlite import binding as llvm

    found = [
        ((section.name() or b"").decode(), section.size())
        for section in llvm.ObjectFileRef.from_data(data).sections()
    ]
    read = (".text", ".rodata", ".rdata", "__text", "__const", "__literal", ".ARM.ex", ".eh_frame")
    return sum(size for name, size in found if name.startswith(read))


_WASM = b"\0asm"


def _wasm_bytes(data: bytes) -> int:
    """Those of code and data: LLVM does not give their names as texts.

    https://webassembly.github.io/spec/core/binary/modules.html#sections
    """
    found, at = {10: 0, 11: 0}, 8
    while at < len(data):
        kind, size, shift, at = data[at], 0, 0, at + 1
        while True:
            byte, at = data[at], at + 1
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        found[kind] = found.get(kind, 0) + size
        at += size
    return found[10] + found[11]


def _versions(unit: "Unit") -> "tuple[Version, ...]":
    from cnnc.backends.native.standalone import Version

    return tuple(map(Version, unit.programs, unit.targets))
