"""The header of primitives: asynchronous copies, matrix fragments, element types."""

from hashlib import sha256

from cnnc.backends.cuda.templates import render
from cnnc.base.record import record

HEADER = "cnnc_prims.h"
"""What generated programs include."""


@record
class Mma:
    """A product of fragments: 16 x depth times depth x 8."""

    name: str
    depth: int
    types: str
    sum: str = "float"
    constraint: str = "f"


@record
class PrimsView:
    """What the template sees."""

    title: str
    version: str
    mmas: tuple[Mma, ...]


MMAS = (
    Mma("tf32", 8, "f32.tf32.tf32.f32"),
    Mma("bf16", 16, "f32.bf16.bf16.f32"),
    Mma("f16", 16, "f32.f16.f16.f32"),
    Mma("s8", 32, "s32.s8.s8.s32", "int", "r"),
)


def prims_header(title: str = "Primitives of generated CUDA code.") -> str:
    """The text of the header; all generated kernels include it."""
    text = render("prims.h", PrimsView(title, "", MMAS))
    version = f"v{sha256(text.encode()).hexdigest()[:8]}"
    return render("prims.h", PrimsView(title, version, MMAS))
