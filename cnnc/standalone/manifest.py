"""What output was made from, so that anybody can make it again and compare."""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from cnnc.base.errors import fail
from cnnc.base.record import record
from cnnc.base.report import Json
from cnnc.base.resources import digest_sources, list_resources, read_resource
from cnnc.machine import llvm_version
from cnnc.standalone.folder import Data, File
from cnnc.standalone.unit import Unit
from cnnc.version import __version__


@record
class Written:
    """What is remembered of a file: how many bytes it has, and their SHA-256 in digits."""

    bytes: int
    sha256: str

    @staticmethod
    def of(data: Data) -> "Written":
        """That of a file's contents."""
        return Written(len(data), digest(data))


def manifest_name(name: str) -> str:
    """What the manifest of a network is called."""
    return f"{name}.manifest.json"


class Before:
    """What an earlier build of the same name left in a folder, by its manifest."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._own = manifest_name(name)
        self.hash, self.files = "", dict[str, str]()
        try:
            text = json.loads((folder / self._own).read_bytes())
            self.hash = str(text["hash"])
            self.files = {str(file): str(sha) for file, sha in text["files"].items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return  # whatever lies there is not known as output

    def is_unchanged(self, name: str) -> bool:
        """Whether a file is there, and as it was written."""
        path = self._folder / name
        if "/" in name or name not in self.files or not path.is_file():
            return False
        return digest(path.read_bytes()) == self.files[name]

    def check(self, names: Sequence[str]) -> None:
        """UserError for files of somebody else that would be replaced, or that were edited."""
        others = [
            name
            for name in names
            if name != self._own and (self._folder / name).exists() and not self.is_unchanged(name)
        ]
        if others:
            raise fail(
                "E0704",
                f"`{self._folder / others[0]}` would be replaced, and is not as cnnc wrote it",
                notes=(f"so it is with {', '.join(others[1:])}",) if others[1:] else (),
                help="write into another folder, or say --force",
            )

    def kept(self, names: Sequence[str], hash: str) -> dict[str, str]:
        """Files of the earlier build that stay beside new ones: they fit these."""
        return {
            name: sha
            for name, sha in self.files.items()
            if hash == self.hash and name not in names and self.is_unchanged(name)
        }

    def stale(self, names: Sequence[str], hash: str) -> tuple[str, ...]:
        """Files of the earlier build that do not fit the new ones, and nobody edited."""
        if hash == self.hash:
            return ()
        return tuple(name for name in self.files if name not in names and self.is_unchanged(name))


def manifest(unit: Unit, files: Mapping[str, Written], kept: Mapping[str, str]) -> File:
    """The manifest: SHA-256 of the text, the weights, the tune file and every file of the output.

    It names no folder, no time and no machine, so that the same build anywhere gives the same one.
    `kept` are files of an earlier build that belong to it.
    """
    sums = {**kept, **{name: written.sha256 for name, written in files.items()}}
    request, provenance = unit.request, unit.model.provenance
    text: dict[str, Json] = {
        "cnnc": __version__,
        "cnnc_sha256": compiler_digest(),
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
        "linker": unit.linker_version,
        "seed": request.seed,
        "files": dict(sorted(sums.items())),
    }
    return File(
        manifest_name(unit.name), (json.dumps(text, indent=2, ensure_ascii=False) + "\n").encode()
    )


def compiler_digest() -> str:
    """SHA-256 of cnnc's own sources and templates: what a version alone does not tell."""
    texts = [f"{name}\n{read_resource('templates', name)}" for name in list_resources("templates")]
    return digest("\0".join([digest_sources(""), *texts]).encode())


def digest(data: Data) -> str:
    """SHA-256 in hexadecimal digits."""
    return sha256(data).hexdigest()
