"""x * factor + offset → scale, mean and deviation as a person would write them."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from cnnc.base.record import record

Numbers = NDArray[np.float64]
FRACTIONS = (255.0, 127.5, 256.0, 128.0)
"""What pixels are often divided by; the first also before channels get a deviation each."""
MOST_DIGITS = 9
"""Digits that tell numbers of f32 apart."""
FEW_DIGITS = 5
"""Digits of numbers that are taken for those meant, although the table is a rounding away."""
CLOSE = 2.0**-23
"""How far from each other numbers may be that are the same but for a rounding to f32."""


@record
class Affine:
    """(x * scale - mean) / std for each channel; one number stands for all."""

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


def spell(factor: Numbers, offset: Numbers) -> Affine | None:
    """The shortest numbers that make the same table of f32, or one that is a rounding away.

    None where the language has no such preprocessing. The same table gets the same numbers.
    """
    with np.errstate(all="ignore"):
        tables = np.array(np.broadcast_arrays(factor, offset), np.float32)
        normal = np.isfinite(tables).all() and (np.abs(tables[0]) >= np.finfo(np.float32).tiny)
    if not np.all(normal) or len({*np.sign(tables[0])}) > 1:
        return None
    for is_exact, most in ((True, FEW_DIGITS), (False, FEW_DIGITS), (True, MOST_DIGITS)):
        found = [
            (_digits(each), place, each)
            for place, each in enumerate(_candidates(tables.astype(np.float64), most))
            if _agrees(each, tables, is_exact=is_exact)
        ]
        if found:
            return min(found, key=lambda each: each[:2])[2]
    return _exact(tables)


def tables_of(given: Affine) -> NDArray[np.float32]:
    """What each channel is multiplied by and what is added, as the operator computes them."""
    mean, std = (np.asarray(each, np.float64) for each in (given.mean, given.std))
    with np.errstate(all="ignore"):
        parts = np.broadcast_arrays(given.scale / std, -mean / std)
        return np.array(parts, np.float32)


def _candidates(tables: Numbers, most: int) -> Iterator[Affine]:
    factor, offset = tables
    sign = float(np.sign(factor[0]))
    is_one = len({*factor}) == 1
    scales = [sign / each for each in (FRACTIONS if is_one else FRACTIONS[:1])]
    if is_one:
        scales += [float(_rounded(factor[:1], digits)[0]) for digits in range(1, most + 1)]
    scales.append(sign)
    for scale in scales:
        std = scale / factor
        mean = -offset * std
        for digits in range(1, most + 1):
            yield Affine(scale, _short(_rounded(mean, digits)), _short(_rounded(std, digits)))


def _rounded(values: Numbers, digits: int) -> Numbers:
    return np.array([float(f"{value:.{digits}g}") + 0.0 for value in values])


def _short(values: Numbers) -> tuple[float, ...]:
    """One number where all are equal."""
    found = tuple(map(float, values))
    return found[:1] if len({*found}) == 1 else found


def _digits(given: Affine) -> int:
    """How much there is to read; a division by 255 counts as little as 255."""
    usual = {1 / each: each for each in FRACTIONS}
    scale = usual.get(abs(given.scale), given.scale)
    return sum(map(_length, (scale, *given.mean, *given.std)))


def _length(value: float) -> int:
    return 0 if value in (0.0, 1.0) else len(repr(value).replace(".", "").strip("-0"))


def _agrees(given: Affine, tables: NDArray[np.float32], *, is_exact: bool) -> bool:
    if not all(each > 0 for each in given.std):
        return False
    found = np.broadcast_to(tables_of(given), tables.shape)
    if is_exact:
        return bool(np.array_equal(found, tables))
    return bool(np.allclose(found, tables, rtol=CLOSE, atol=0))


def _exact(tables: NDArray[np.float32]) -> Affine | None:
    """As many digits as it takes."""
    factor, offset = tables
    sign = float(np.sign(factor[0]))
    tries: list[Affine] = []
    if len({*factor}) == 1:
        tries.append(Affine(float(str(factor[0])), _shown(-offset), (1.0,)))
    std = sign / factor.astype(np.float64)
    tries.append(Affine(sign, _short(-offset.astype(np.float64) * std), _short(std)))
    return next((each for each in tries if _agrees(each, tables, is_exact=True)), None)


def _shown(values: NDArray[np.float32]) -> tuple[float, ...]:
    return _short(np.array([float(str(value)) + 0.0 for value in values]))


def spread(values: Sequence[float], channels: int) -> Numbers:
    """A number for each channel."""
    return np.broadcast_to(np.asarray(values, np.float64), (channels,))
