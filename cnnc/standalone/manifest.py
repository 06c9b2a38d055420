"""What output was made from, so that anybody can make it again and compare."""

import json
from collections.abc import Mapping
from hashlib import sha256

from cnnc.base.report import Json
from cnnc.machine import llvm_version
from cnnc.standalone.folder import Data, File
from cnnc.standalone.unit import Unit
from cnnc.version import __version__

NAME = "manifest.json"


def manifest(unit: Unit, files: Mapping[str, Data]) -> File:
    """The manifest: SHA-256 of the text, the weights, the tune file and every file of the output.

    It names no folder, no time and no machine, so that the same build anywhere gives the same one.
    """
    request, provenance = unit.request, unit.model.provenance
    text: dict[str, Json] = {
        "cnnc": __version__,
        "llvm": ".".join(map(str, llvm_version())),
        "network": unit.model.name,
        "name": unit.name,
        "hash": f"{unit.abi.hash:016x}",
        "source": provenance.source,
        "source_sha256": provenance.sha256,
        "settings": dict(provenance.settings),
        "weights_sha256": digest(unit.weights),
        "tuning_sha256": digest(request.tuning.read_bytes()) if request.tuning else None,
        "batch": unit.model.batch,
        "threads": request.threads,
        "exact": request.exact,
        "weights": request.weights,
        "targets": [
            {"triple": target.triple, "cpu": target.cpu, "features": target.features}
            for target in unit.targets
        ],
        "files": {name: digest(data) for name, data in sorted(files.items())},
    }
    return File(NAME, (json.dumps(text, indent=2, ensure_ascii=False) + "\n").encode())


def digest(data: Data) -> str:
    """SHA-256 in hexadecimal digits."""
    return sha256(memoryview(data)).hexdigest()
