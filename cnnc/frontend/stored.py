"""Arrays that stay in their file until they are needed, and are read anew each time."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from io import BufferedReader
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnnc.base.errors import UserError, fail
from cnnc.base.layout import Shape
from cnnc.base.record import record
from cnnc.ir.graph import Constant, cuts, magnitudes, rows_at_once

Array = NDArray[np.generic]


@record
class FileState:
    """A file as it was: which one, its bytes, and when it was changed, in nanoseconds."""

    path: Path
    device: int
    number: int
    size: int
    changed: int

    @staticmethod
    def of(path: Path) -> "FileState":
        """The state of a file that is there."""
        return FileState._of(path.absolute(), path.stat())

    @staticmethod
    def _of(path: Path, found: os.stat_result) -> "FileState":
        return FileState(path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)

    def open(self) -> BufferedReader:
        """The file to read from; UserError where it is another one now."""
        try:
            file = self.path.open("rb")
        except OSError as error:
            raise self.gone(error.strerror or str(error)) from None
        if self._of(self.path, os.fstat(file.fileno())) != self:
            file.close()
            raise self.gone("it was written since the network was loaded")
        return file

    def gone(self, why: str) -> UserError:
        """The error for a file that is not as it was."""
        return fail(
            "E0406",
            f"`{self.path.name}` is not the file any more that weights were loaded from",
            notes=(why,),
            help="load the network again",
        )


@dataclass(frozen=True, eq=False)
class Stored:
    """A row-major array at an offset of a file, which must not change: see Recipe.

    It pickles as the array.
    """

    file: FileState
    offset: int
    shape: Shape
    dtype: np.dtype[np.generic]

    @cached_property
    def identity(self) -> object:
        """See Recipe: a digest of the elements."""
        hashed = blake2b()
        for part in self.parts(rows_at_once(self.shape)):
            hashed.update(part.data)
        return hashed.digest()

    @cached_property
    def magnitudes(self) -> tuple[float, float]:
        """See Recipe."""
        return magnitudes(self.parts(rows_at_once(self.shape)))

    def parts(self, rows: int) -> Iterator[Array]:
        """See Recipe; UserError where the file has changed."""
        with self.file.open() as file:
            file.seek(self.offset)
            for cut in cuts(self.shape, rows):
                part = np.empty((cut.stop - cut.start, *self.shape[1:]), self.dtype)
                if file.readinto(part.reshape(-1).view(np.uint8).data) != part.nbytes:
                    raise self.file.gone("it ends too early")
                yield part

    def __reduce__(self) -> tuple[object, tuple[Array]]:
        return np.asarray, (Constant(self).value,)
