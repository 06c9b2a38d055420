"""A receptive field drawn over the input it belongs to; needs matplotlib."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cnnc.analysis.fields import Field
from cnnc.base.errors import fail
from cnnc.files import check_file, replace_file
from cnnc.ir.graph import Array, Real

KINDS = (".png", ".svg", ".pdf")


def draw_field(field: Field, path: Path, arrays: Mapping[str, Array] | None = None) -> None:
    """Draw what a position sees of its input: one axis as a line, two as a picture.

    Of three or more axes the first ones are taken together. `arrays` gives the input to draw on.
    UserError where matplotlib is missing or the file cannot be written.
    """
    check_file(path, *KINDS)
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise fail(
            "E0802", "plots need matplotlib", help="install it: pip install 'cnnc[plot]'"
        ) from None
    mask = field.mask()
    if not mask.ndim:
        raise fail("E0803", f"input `{field.input}` has no spatial axis to draw")
    mask = np.asarray(mask.any(axis=tuple(range(mask.ndim - 2))))
    picture = _picture(arrays[field.input], field.spatial[-2:]) if arrays else None
    figure = Figure(figsize=(6, 6 if mask.ndim == 2 else 2.5), layout="constrained")
    axes = figure.add_subplot()
    if mask.ndim == 1:
        values = np.zeros(len(mask)) if picture is None else picture
        axes.plot(values, color="0.3")
        axes.fill_between(
            *(range(len(mask)), 0, 1),
            where=mask,
            step="mid",
            alpha=0.3,
            transform=axes.get_xaxis_transform(),
        )
    else:
        if picture is not None:
            axes.imshow(picture, cmap="gray")
        shade = np.zeros((*mask.shape, 4))
        shade[mask] = (0.85, 0.2, 0.1, 0.45)
        axes.imshow(shade, extent=(-0.5, mask.shape[1] - 0.5, mask.shape[0] - 0.5, -0.5))
    where = ", ".join(map(str, field.position)) or "all"
    axes.set_title(f"{field.layer} at ({where}) sees {field.share:.1%} of {field.input}")
    made = io.BytesIO()
    figure.savefig(made, format=path.suffix.lower()[1:], dpi=120)
    replace_file(path, made.getvalue())


def _picture(array: Array, axes: Sequence[int]) -> Real:
    """The first sample as these axes show it: the mean over all others."""
    sample = np.asarray(array[:1], np.float64)
    others = tuple(axis for axis in range(sample.ndim) if axis not in axes)
    return np.asarray(sample.mean(axis=others))
