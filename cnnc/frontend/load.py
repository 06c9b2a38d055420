"""The way in: a `.cnn` file → a graph with its weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnnc.base.errors import Diagnostic
from cnnc.base.source import SourceFile
from cnnc.frontend.build import build_net, choose_net
from cnnc.frontend.clauses import Check, FileWeights, InitialWeights
from cnnc.frontend.files import read_source
from cnnc.frontend.imports import Imports, Links, follow_imports
from cnnc.frontend.settings import Batch, Setting, parse_settings
from cnnc.frontend.state import Limits
from cnnc.frontend.vectors import CheckVectors, read_vectors
from cnnc.frontend.weights import bind_arrays, bind_weights
from cnnc.ir.graph import Graph


@dataclass(frozen=True, slots=True)
class LoadedNet:
    """A net ready for the passes.

    `links` has the texts of the files it imports.
    `params` holds the final value of each param as text. `weights` says where the constants came
    from; where binding was declined, the graph still has its parameters.
    """

    source: SourceFile
    folder: Path | None
    links: Links
    graph: Graph
    params: Mapping[str, str]
    weights: FileWeights | InitialWeights | None
    checks: tuple[Check, ...]
    warnings: tuple[Diagnostic, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of weights and golden vectors, where the text lies in a folder."""
        named = [check.path for check in self.checks]
        if isinstance(self.weights, FileWeights):
            named.append(self.weights.path)
        return () if self.folder is None else tuple(self.folder / each.value for each in named)

    def read_checks(self) -> tuple[CheckVectors, ...]:
        """The golden vectors of all `check` clauses; UserError for files that do not fit."""
        return tuple(read_vectors(self.graph, check, self.folder) for check in self.checks)


@dataclass(frozen=True, slots=True)
class Choices:
    """What the caller decides about a file.

    `settings` override params (text is an expression of the language); `net` may be left out where
    the file has one; `batch` is `N`, a number or a range; `with_weights` opens the weights file;
    files to import are looked for in `import_path`, after the folder of the importing file.
    `arrays` are the parameters by name, for texts that do not say where theirs come from.
    """

    settings: Mapping[str, Setting] = field(default_factory=dict)
    net: str | None = None
    batch: Batch | None = None
    with_weights: bool = True
    limits: Limits = field(default_factory=Limits)
    import_path: tuple[Path, ...] = ()
    arrays: Mapping[str, NDArray[np.generic]] | None = None


def load(path: str | Path, choices: Choices = Choices()) -> LoadedNet:
    """Read and build a `.cnn` file; UserError with everything that is wrong in it."""
    path = Path(path)
    source = read_source(path)
    imports = follow_imports(source, path, path.parent, choices.import_path)
    return _build(source, path.parent, imports, choices)


def load_text(
    source: SourceFile,
    folder: Path | None,
    choices: Choices = Choices(),
    links: Links | None = None,
) -> LoadedNet:
    """Build a text; weights and check files lie in `folder`, None if it may name none.

    With the `links` of a loaded net, its texts are not read again.
    """
    imports = follow_imports(source, None, folder, choices.import_path, links)
    return _build(source, folder, imports, choices)


def _build(
    source: SourceFile, folder: Path | None, imports: Imports, choices: Choices
) -> LoadedNet:
    program = imports.programs[source]
    net = choose_net(program, choices.net)
    settings = parse_settings(program, choices.settings, choices.batch)
    built = build_net(imports, net, settings, choices.limits)
    graph = built.graph
    if choices.arrays is not None:
        graph = bind_arrays(graph, choices.arrays, net.name.span)
    elif choices.with_weights:
        graph = bind_weights(graph, built.weights, folder, net.name.span)
    return LoadedNet(
        source,
        folder,
        imports.links,
        graph,
        built.params,
        built.weights,
        built.checks,
        built.warnings,
    )
