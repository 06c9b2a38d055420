"""From what a caller hands over to the arrays a program takes, and the arrays it fills."""

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnc.base.errors import Diagnostic, UserError, did_you_mean, fail
from cnnc.base.record import record
from cnnc.exchange import DeviceError, as_array, as_writable
from cnnc.interface import End, Interface
from cnnc.memory import aligned
from cnnc.table import plural, shape_text

Array = NDArray[np.generic]
Given = ArrayLike | Mapping[str, ArrayLike]
Shape = tuple[int, ...]
_End = tuple[str, Shape, np.dtype[np.generic]]
_ndarray, _empty, _may_share_memory = np.ndarray, np.empty, np.may_share_memory
_TO_CPU = "copy it to the CPU first, with `.cpu()` or what its library calls it"


@record
class Bound:
    """Arrays in the order of the inputs, contiguous and of their types, with so many samples."""

    arrays: tuple[Array, ...]
    samples: int


class Binding:
    """Checks and converts the arrays of one network."""

    def __init__(self, interface: Interface) -> None:
        self._net = interface
        self._names = [end.name for end in interface.inputs]
        self._makes = [
            (end.name, end.type.shape, end.type.dtype.numpy) for end in interface.outputs
        ]
        self.splittable = interface.splittable
        self._fewest = interface.fewest or 0
        self._takes = [(end.name, end.type.shape, end.type.dtype.numpy) for end in interface.inputs]
        self._single = self._takes[0] if len(self._takes) == 1 else None
        self._batch = interface.batch

    def bind(self, given: Given | None, named: Mapping[str, ArrayLike]) -> Bound:
        """The inputs by name, or the only one; UserError lists everything that does not fit.

        Another element type is converted where no value can change (`numpy.can_cast`, "safe").
        """
        arrays = self.arrays(given, named)
        return Bound(arrays, len(arrays[0]))

    def arrays(self, given: Given | None, named: Mapping[str, ArrayLike]) -> tuple[Array, ...]:
        """What `bind` finds, without the number of samples."""
        if type(given) is _ndarray and not named and self._single:
            _, shape, dtype = self._single
            flags = given.flags
            # The first is only quicker than the second.
            if (
                given.shape == shape
                and given.dtype == dtype
                and flags.c_contiguous
                and flags.aligned
            ) or self._samples(given, self._single):
                return (given,)
        elif ready := self._ready(named if given is None else given, named):
            return ready
        arrays, wrong = self._collect(given, named)
        bound = []
        for end in self._net.inputs:
            if end.name in arrays:
                converted, found = self._convert(end, arrays[end.name])
                bound.append(converted)
                wrong += found
        samples = {array.shape[0] for array in bound} if not wrong else set()
        if len(samples) > 1:
            counts = ", ".join(
                f"`{end.name}` {array.shape[0]}"
                for end, array in zip(self._net.inputs, bound, strict=True)
            )
            wrong.append(
                Diagnostic("E0601", "inputs differ in how many samples they have: " + counts)
            )
        fewest = min(samples, default=0)
        if len(samples) == 1 and 0 < fewest < self._fewest:
            least, most = self._fewest, self._net.batch
            why = f"{plural(fewest, 'sample')} for a batch of {least}..{most}"
            wrong.append(Diagnostic("E0601", why, help=f"pass {least} samples or more"))
        if wrong:
            raise UserError(wrong)
        return tuple(bound)

    def in_place(self, given: Given | None, named: Mapping[str, ArrayLike]) -> tuple[Array, ...]:
        """The inputs of one run where they lie; UserError where one would have to be copied."""
        arrays = self.arrays(given, named)
        originals, _ = self._collect(given, named)
        wrong = []
        for end, array in zip(self._net.inputs, arrays, strict=True):
            original = as_array(originals[end.name])
            if array.size and not _may_share_memory(array, original):
                cause = _why_copied(original, array.dtype)
                why = f"input `{end.name}` {cause}, so it would be copied"
                help = f"bind a contiguous array of {array.dtype}, or none: one is made"
                wrong.append(Diagnostic("E0605", why, help=help))
        samples = len(arrays[0])
        if not (self._fewest or self._batch) <= samples <= self._batch:
            least = f"{self._fewest}.." if self._fewest else ""
            why = f"{plural(samples, 'sample')} for a run of {least}{self._batch}"
            fix = f"compile for a batch of {samples}" if samples else None
            wrong.append(Diagnostic("E0601", why, help=fix))
        if wrong:
            raise UserError(wrong)
        return arrays

    def made(self, out: object = None) -> tuple[Array, ...]:
        """Inputs of zeros: as many samples as arrays for results have, else the most of one run."""
        samples, made = self._samples_of(out), []
        for _, shape, dtype in self._takes:
            whole = (samples, *shape[1:])
            array = aligned(prod(whole), dtype).reshape(whole)
            array[...] = 0
            made.append(array)
        return tuple(made)

    def _samples_of(self, out: object) -> int:
        """The samples of one run that arrays for results are for; `results` checks the arrays."""
        given = out.values() if isinstance(out, Mapping) else ()
        shapes: list[Shape] = [getattr(array, "shape", ()) for array in given]
        counts = {shape[0] for shape in shapes if shape}
        fits = self._fewest and len(counts) == 1 and self._fewest <= min(counts) <= self._batch
        return int(counts.pop()) if fits else self._batch

    def _ready(self, given: Given, named: Mapping[str, ArrayLike]) -> tuple[Array, ...] | None:
        """The inputs by name if they can be seen to need no conversion at a glance, else None."""
        if type(given) is not dict or len(given) != len(self._takes):
            return None
        if named and named is not given:
            return None
        ready: list[Array] = []
        for end in self._takes:
            array = given.get(end[0])
            if type(array) is not _ndarray or not (samples := self._samples(array, end)):
                return None
            ready.append(array)
            if samples != len(ready[0]):
                return None
        return tuple(ready)

    def _samples(self, array: Array, end: _End) -> int:
        """How many samples an array brings that an input can take as it is; 0 if it cannot."""
        _, expected, dtype = end
        shape: Shape = array.shape
        flags = array.flags
        if array.dtype != dtype or not (flags.c_contiguous and flags.aligned):
            return 0
        if shape == expected:
            return shape[0]
        fits = self.splittable and len(shape) == len(expected) and shape[1:] == expected[1:]
        return shape[0] if fits and shape[0] >= self._fewest else 0

    def results(self, inputs: Sequence[Array], out: Mapping[str, Array] | None) -> dict[str, Array]:
        """An array for every output; those in `out` are taken once they are checked."""
        makes, samples = self._makes, len(inputs[0])
        if samples != self._batch:
            makes = [(name, (samples, *shape[1:]), dtype) for name, shape, dtype in makes]
        if out is None:
            made = {}
            for name, shape, dtype in makes:
                made[name] = _empty(shape, dtype)
            return made
        if type(out) is dict and (ready := _ready_results(inputs, out, makes)):
            return ready
        return self._given_results(inputs, _as_mapping(out), makes)

    def _given_results(
        self, inputs: Sequence[Array], given: Mapping[str, Array], makes: Sequence[_End]
    ) -> dict[str, Array]:
        made: dict[str, Array] = {}
        wrong: list[Diagnostic] = []
        mine: list[Array] = [*inputs]
        known = [end.name for end in self._net.outputs]
        for name in given:
            if name not in known:
                help = did_you_mean(str(name), known) or f"its outputs are {', '.join(known)}"
                why = f"{self._net.name} has no output `{name}`"
                wrong.append(Diagnostic("E0603", why, help=help))
        for name, shape, dtype in makes:
            if name in given:
                array, found = _open_result(name, given[name], shape, dtype, mine)
                wrong += found
                made[name] = array
                mine.append(array)
            else:
                made[name] = _empty(shape, dtype)
        if wrong:
            raise UserError(wrong)
        return made

    def _collect(
        self, given: Given | None, named: Mapping[str, ArrayLike]
    ) -> tuple[dict[str, ArrayLike], list[Diagnostic]]:
        arrays: dict[str, ArrayLike] = dict(named)
        wrong: list[Diagnostic] = []
        first: Mapping[str, ArrayLike] = {}
        if isinstance(given, Mapping):
            first = given
        elif given is not None and len(self._names) == 1:
            first = {self._names[0]: given}
        elif given is not None:
            why = f"{self._net.name} has {len(self._names)} inputs, and one array without a name"
            help = f"pass them by name: {', '.join(f'{name}=…' for name in self._names)}"
            return {}, [Diagnostic("E0603", why, help=help)]
        for name in first:
            if name in arrays:
                wrong.append(Diagnostic("E0603", f"input `{name}` is given twice"))
        arrays = {**first, **arrays}
        for name in arrays:
            if name not in self._names:
                near = did_you_mean(str(name), self._names)
                fix = near or f"its inputs are {', '.join(self._names)}"
                why = f"{self._net.name} has no input `{name}`"
                wrong.append(Diagnostic("E0603", why, help=fix))
        for end in self._net.inputs:
            if end.name not in arrays:
                why = f"input `{end.name}` is missing"
                note = f"it is {end.type.dtype} {self._accepted(end)}"
                wrong.append(Diagnostic("E0603", why, end.span, notes=(note,)))
        return arrays, wrong

    def _convert(self, end: End, given: ArrayLike) -> tuple[Array, list[Diagnostic]]:
        wanted = end.type.dtype.numpy
        try:
            array = as_array(given)
        except DeviceError as error:
            why = f"input `{end.name}` is out of reach: {error}"
            return np.empty(0), [Diagnostic("E0602", why, end.span, help=_TO_CPU)]
        except Exception as error:  # whatever an object's own conversion raises
            why = f"input `{end.name}` is no array: {type(error).__name__}: {error}"
            return np.empty(0), [Diagnostic("E0602", why, end.span)]
        if array.dtype != wanted and not np.can_cast(array.dtype, wanted, "safe"):
            why = f"input `{end.name}` is {array.dtype}, and {wanted} cannot hold all of its values"
            help = f"convert it with `.astype({wanted.name!r})`"
            if array.dtype.kind in "USOV":
                help = f"pass an array of {wanted.name}"
            elif not hasattr(given, "dtype"):
                help = f"convert it with `np.asarray({end.name}, {wanted.name!r})`"
            elif wanted == np.uint8 and array.dtype.kind == "f":
                help = "hand over the bytes as they are; 0 to 1 becomes `(x * 255).round()` first"
                help += ", then `.astype('uint8')`"
            return array, [Diagnostic("E0602", why, end.span, help=help)]
        if wrong := self._check_shape(end, array.shape):
            return array, [wrong]
        return np.require(array, wanted, ("C", "A")), []

    def _check_shape(self, end: End, shape: Sequence[int]) -> Diagnostic | None:
        expected = end.type.shape
        fits = len(shape) == len(expected) and tuple(shape[1:]) == expected[1:]
        if fits and (self.splittable or shape[0] == expected[0]):
            return None
        why = f"input `{end.name}` has shape {shape_text(shape)}, expected {self._accepted(end)}"
        notes: tuple[str, ...] = ()
        help = None
        if tuple(shape) == expected[1:]:
            help = f"add the batch axis: `{end.name}[None]`"
        elif len(shape) > 2 and end.channels_last:
            if (*shape[2:], shape[1]) == expected[1:]:
                help = f"channels come last: `np.moveaxis({end.name}, 1, -1)`"
        elif len(shape) > 2 and (shape[-1], *shape[1:-1]) == expected[1:]:
            help = f"channels come first: `np.moveaxis({end.name}, -1, 1)`"
        elif fits:
            notes = (f"samples are not independent, so only batches of {expected[0]} can run",)
            help = f"compile for a batch of {shape[0]}" if shape[0] else None
        return Diagnostic("E0601", why, end.span, notes=notes, help=help)

    def _accepted(self, end: End) -> str:
        batch = "N" if self.splittable else str(end.type.shape[0])
        return "×".join([batch, *map(str, end.type.shape[1:])])


def _why_copied(array: Array, wanted: np.dtype[np.generic]) -> str:
    """What keeps an array from being used where it lies."""
    if array.dtype != wanted:
        return f"is {array.dtype}"
    if not array.flags.c_contiguous:
        return "is not contiguous"
    return "has no memory of its own" if array.flags.aligned else "is not aligned"


def _as_mapping(out: object) -> Mapping[str, Array]:
    if isinstance(out, Mapping):
        return out
    why = f"`out` is a {type(out).__name__}, expected a mapping of arrays by output"
    raise fail("E0603", why)


def _ready_results(
    inputs: Sequence[Array], given: dict[str, Array], makes: Sequence[_End]
) -> dict[str, Array] | None:
    """The results where what is given can be seen to fit at a glance, else None."""
    made: dict[str, Array] = {}
    fresh = 0
    for name, shape, dtype in makes:
        array = given.get(name)
        if array is None:
            made[name] = _empty(shape, dtype)
            fresh += 1
            continue
        if type(array) is not _ndarray or array.dtype != dtype or array.shape != shape:
            return None
        flags = array.flags
        if not flags.carray:  # contiguous, aligned and writable
            return None
        for other in (*inputs, *made.values()) if made else inputs:
            # Two arrays that own their memory have memory of their own.
            apart = array is not other and flags.owndata and other.flags.owndata
            if not apart and _may_share_memory(array, other):
                return None
        made[name] = array
    return made if len(made) - fresh == len(given) else None


def _open_result(
    name: str, given: object, shape: Shape, dtype: np.dtype[np.generic], others: Sequence[Array]
) -> tuple[Array, list[Diagnostic]]:
    """The memory of an array that shall take a result, and what is wrong with it."""
    try:
        array = as_writable(given)
    except DeviceError as error:
        why = f"`out` for `{name}` is out of reach: {error}"
        return np.empty(0), [Diagnostic("E0602", why, help=_TO_CPU)]
    except Exception as error:  # whatever an object's own conversion raises
        why = f"`out` for `{name}` is no array: {type(error).__name__}: {error}"
        return np.empty(0), [Diagnostic("E0602", why)]
    if array is None:
        found = f"{type(given).__name__}, which has no memory to write to"
        return np.empty(0), [Diagnostic("E0602", f"`out` for `{name}` is a {found}")]
    return array, _check_result(name, array, shape, dtype, others)


def _check_result(
    name: str, array: Array, shape: Shape, wanted: np.dtype[np.generic], others: Sequence[Array]
) -> list[Diagnostic]:
    if array.dtype != wanted:
        return [Diagnostic("E0602", f"`out` for `{name}` is {array.dtype}, not {wanted}")]
    if array.shape != shape:
        found = shape_text(array.shape)
        why = f"`out` for `{name}` has shape {found}, not {shape_text(shape)}"
        return [Diagnostic("E0601", why)]
    flags = array.flags
    needs = {
        "contiguous": flags.c_contiguous,
        "aligned": flags.aligned,
        "writable": flags.writeable,
    }
    if lacks := [need for need, has in needs.items() if not has]:
        return [Diagnostic("E0601", f"`out` for `{name}` is not {' nor '.join(lacks)}")]
    if any(_may_share_memory(array, each) for each in others):
        why = f"`out` for `{name}` lies in the memory of an input or of another output"
        return [Diagnostic("E0601", why)]
    return []
