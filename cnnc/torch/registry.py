"""The table of importers: which operators of ATen cnnc takes."""

from cnnc.base.registry import Registry
from cnnc.torch.call import Importer

IMPORTERS: Registry[Importer] = Registry("cnnc.torch.importers")
"""Importers by the names of operators without `aten.` and overload: one for all overloads."""
importer = IMPORTERS.register
