"""What output was made from, so that anybody can make it again and compare."""

import json
from collections.abc import Mapping
from hashlib import sha256

from cnnc.base.record import record
from cnnc.base.report import Json
from cnnc.machine import llvm_version
from cnnc.standalone.folder import Data, File
from cnnc.standalone.unit import Unit
from cnnc.version import __version__

NAME = "manifest.json"


@record
class Written:
    """What is remembered of a file: how many bytes it has, and their SHA-256 in digits."""

    bytes: int
    sha256: str

    @staticmethod
    def of(data: Data) -> "Written":
        """That of a file's contents."""
        return Written(len(data), digest(data))


def manifest(unit: Unit, files: Mapping[str, Written]) -> File:
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
        "weights_sha256": digest(unit.weights.data),
        "tuning_sha256": digest(request.tuning.read_bytes()) if request.tuning else None,
        "batch": unit.model.batch,
        "threads": request.threads,
        "exact": request.exact,
        "weights": request.weights,
        "targets": [
            {"triple": target.triple, "cpu": target.cpu, "features": target.features}
            for target in unit.targets
        ],
        "files": {name: files[name].sha256 for name in sorted(files)},
    }
    return File(NAME, (json.dumps(text, indent=2, ensure_ascii=False) + "\n").encode())


def digest(data: Data) -> str:
    """SHA-256 in hexadecimal digits."""
    return sha256(data).hexdigest()
