"""Triples such as `aarch64-linux-gnu`: taken apart, checked and completed."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from cnnc.base.errors import UserError, did_you_mean, fail
from cnnc.base.record import record

_ARCHITECTURES: Mapping[str, str] = MappingProxyType(
    {
        **{name: "x86_64" for name in ("x86_64", "amd64", "x64")},
        **{name: "aarch64" for name in ("aarch64", "arm64")},
        **{name: "armv7" for name in ("armv7", "armv7a", "armv7l", "armhf")},
        "arm": "arm",
        "thumbv6m": "thumbv6m",
        "thumbv7m": "thumbv7m",
        "thumbv7em": "thumbv7em",
        "thumbv8m.main": "thumbv8m.main",
        "thumbv8.1m.main": "thumbv8.1m.main",
        "riscv64": "riscv64",
        "riscv32": "riscv32",
        "wasm32": "wasm32",
        "wasm64": "wasm64",
    }
)
_SYSTEMS: Mapping[str, str] = MappingProxyType(
    {
        "linux": "linux",
        "freebsd": "freebsd",
        "windows": "windows",
        "win32": "windows",
        "macos": "macosx",
        "macosx": "macosx",
        "darwin": "darwin",
        "ios": "ios",
        "none": "none",
        "wasi": "wasi",
        "wasip1": "wasi",
        "emscripten": "emscripten",
    }
)
_VENDORS = ("unknown", "pc", "apple", "w64")
_ENVIRONMENTS = (
    *("gnu", "gnueabi", "gnueabihf", "musl", "musleabi", "musleabihf", "msvc", "android"),
    *("eabi", "eabihf", "elf"),
)


@record
class Triple:
    """Parts of a triple: `system` is `none` without one, `environment` may be empty."""

    architecture: str
    vendor: str
    system: str
    environment: str

    def __str__(self) -> str:
        parts = [self.architecture, self.vendor, self.system, self.environment]
        return "-".join(part for part in parts if part)

    @property
    def has_hard_float(self) -> bool:
        """Whether floating-point instructions may be used: for 32-bit ARM the triple says so."""
        is_arm = self.architecture.startswith(("armv7", "thumb"))
        return not is_arm or self.environment.endswith("hf")


def is_triple(name: str) -> bool:
    """Whether a name is meant as a triple: it begins with an architecture and has more parts."""
    first, dash, _ = name.lower().partition("-")
    return bool(dash) and first in _ARCHITECTURES


def parse_triple(text: str) -> Triple:
    """The parts of a triple, in any of the spellings that compilers take; UserError otherwise."""
    architecture, *parts = text.lower().split("-")
    found = Triple(_ARCHITECTURES[architecture], "unknown", "", "")
    for position, part in enumerate(parts):
        system = _SYSTEMS.get(part.rstrip("0123456789.")) or _SYSTEMS.get(part)
        if system and not found.system:
            has_version = system in ("macosx", "darwin", "ios") and part[-1].isdigit()
            version = part.lstrip("abcdefghijklmnopqrstuvwxyz") if has_version else ""
            found = replace(found, system=system + version)
        elif part in _VENDORS and position == 0:
            found = replace(found, vendor=part)
        elif part == "unknown" and not found.system:
            found = replace(found, system="unknown")
        elif part in _ENVIRONMENTS and not found.environment:
            found = replace(found, environment=part)
        else:
            raise _unknown(text, part)
    return _complete(text, found)


def _complete(text: str, found: Triple) -> Triple:
    """With what follows from the parts that are there; UserError where they contradict."""
    architecture, system, environment = found.architecture, found.system, found.environment
    is_wasm = architecture.startswith("wasm")
    if not system:
        system = "unknown" if is_wasm else "none"
    if system == "windows" and not environment:
        environment = "msvc"
    if system == "linux" and not environment:
        environment = "gnueabihf" if architecture in ("arm", "armv7") else "gnu"
    if system in ("none", "unknown") and not environment and not is_wasm:
        environment = "eabi" if architecture.startswith(("arm", "thumb")) else "elf"
    if architecture == "arm" and system == "linux":
        architecture = "armv7"
    if system.startswith(("macosx", "darwin", "ios")):
        found = replace(found, vendor="apple")
        architecture = "arm64" if architecture == "aarch64" else architecture
    if system == "windows":
        found = replace(found, vendor="pc")
    apple_or_windows = system.startswith(("macosx", "darwin", "ios", "windows"))
    if apple_or_windows and architecture not in ("x86_64", "aarch64", "arm64"):
        raise fail("E0801", f"`{text}`: there are no objects of {system} for {architecture} here")
    if architecture.startswith("thumb") and system != "none":
        raise fail(
            "E0801", f"`{text}`: a microcontroller has no system", help="write `…-none-eabi`"
        )
    if is_wasm != (system in ("wasi", "emscripten", "unknown")) and system != "unknown":
        raise fail("E0801", f"`{text}`: {architecture} and {system} do not go together")
    return replace(found, architecture=architecture, system=system, environment=environment)


def _unknown(text: str, part: str) -> UserError:
    known = (*_VENDORS, *_SYSTEMS, *_ENVIRONMENTS)
    hint = did_you_mean(part, known) or "a triple is such as `aarch64-linux-gnu`"
    return fail("E0801", f"`{part}` in the target `{text}` is unknown", help=hint)
