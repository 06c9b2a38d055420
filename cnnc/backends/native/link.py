"""Object files loaded into this process."""

from collections.abc import Sequence

import llvmlite.binding as llvm

from cnnc.backends.native.targets import target_machine
from cnnc.base.target import Target


def link(objects: Sequence[bytes], target: Target) -> llvm.ExecutionEngine:
    """An engine of object files linked with each other and with the symbols LLVM knows."""
    module = llvm.parse_assembly(f'target triple = "{target.triple}"', llvm.create_context())
    engine = llvm.create_mcjit_compiler(module, target_machine(target, jit=True))
    for data in objects:
        engine.add_object_file(llvm.ObjectFileRef.from_data(data))
    engine.finalize_object()
    return engine
