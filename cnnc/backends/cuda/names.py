"""Names that the generated host code has taken."""

from dataclasses import replace

from cnnc.backends.abi import Abi, Argument

_VARIABLES = """
net stream status bytes made data error at of staging enable start stop argc argv run i on capture
recorded place other device code functions milliseconds check check_cuda read_file name memory file
RUNS At Same On HEAD dim3 calloc exit fclose fopen fprintf fread free memcmp memcpy printf
"""
_RESERVED = frozenset(_VARIABLES.split())
"""What the generated host code calls its variables, and other things beside inputs and outputs."""
_VERBS = """
create run run_host use_graph destroy strerror status_of launch enqueue check_device prepare
capture copy_in copy_out steps_open steps_run steps_close run_step device_malloc device_free
device_read device_wait status net share load fill replay start check_pointers device_create
device_of device_order device_is_captured open_step close_step read order
"""
FUNCTIONS = frozenset(_VERBS.split())
"""What stands behind the network's name in functions that are no kernels."""
FILES = frozenset({"cuda_runtime", "cnnc_math", "cnnc_prims", "main", "test"})
"""Headers, or sources, that those of the network would hide."""


def renamed(abi: Abi) -> Abi:
    """No input or output is called as something else that the host code speaks of."""
    taken = {end.c_name.lower() for end in abi.ends}
    found = list[Argument]()
    for end in abi.ends:
        name = end.c_name
        if name.startswith(("cuda", f"{abi.name}_", "host_")):
            name = f"end_{name}"
        if name in _RESERVED or name.endswith("_bytes"):
            name += "_"
        while name != end.c_name and name.lower() in taken:
            name += "_"
        taken.add(name.lower())
        found.append(replace(end, c_name=name))
    count = len(abi.inputs)
    return replace(abi, inputs=tuple(found[:count]), outputs=tuple(found[count:]))
