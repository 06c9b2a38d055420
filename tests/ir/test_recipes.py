"""Constants that are made when asked for: what they make, however they are cut, and how much."""

import numpy as np
import pytest

from cnnc.frontend.initial import Drawn
from cnnc.ir.graph import PART, Array, Constant, Recipe, cuts, rows_at_once
from cnnc.ir.types import TensorType
from cnnc.ops.cook_toom import along, cook_toom
from cnnc.passes._phased import Phased
from cnnc.passes._reordered import Reordered
from cnnc.passes._scaled import Scaled
from cnnc.passes._transformed import Transformed

DRAWN = Drawn((13, 5, 3, 3), 0.25, 0, "w")
KIND = TensorType.plain(DRAWN.shape)
BY_ROW = np.linspace(-1, 2, 13).reshape(13, 1, 1, 1)
BY_COLUMN = np.linspace(-1, 2, 5).reshape(1, 5, 1, 1)
RECIPES: dict[str, Recipe] = {
    "drawn": DRAWN,
    "scaled rows": Scaled(Constant(DRAWN), BY_ROW, KIND),
    "scaled columns": Scaled(Constant(DRAWN), BY_COLUMN, KIND),
    "transformed": Transformed(Constant(DRAWN), (6, 6), (1, 1), TensorType.plain((13, 5, 36))),
    "transformed phases": Transformed(
        Constant(DRAWN), (4, 6), (2, 1), TensorType.plain((13, 10, 24))
    ),
    "transformed of scaled": Transformed(
        Constant(Scaled(Constant(DRAWN), BY_ROW, KIND)),
        *((4, 4), (1, 1), TensorType.plain((13, 5, 16))),
    ),
    "reordered": Reordered(Constant(DRAWN), np.array([4, 0, 3, 1, 2]), KIND),
    "phased": Phased.of(Constant(DRAWN), 1, (3, 1), "crd", KIND.dtype),
    "phased by blocks": Phased.of(Constant(DRAWN), 1, (3, 3), "dcr", KIND.dtype),
    "phased groups": Phased.of(Constant(DRAWN), 13, (1, 3), "crd", KIND.dtype),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("rows", [1, 4, 13, 100])
def test_the_value_does_not_depend_on_how_it_is_cut(recipe: Recipe, rows: int) -> None:
    whole = Constant(recipe).value
    assert (whole.shape, whole.dtype) == (recipe.shape, recipe.dtype)
    parts = list(Constant(recipe).parts(rows))
    assert [len(part) for part in parts] == [c.stop - c.start for c in cuts(whole.shape, rows)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_magnitudes_hold(recipe: Recipe) -> None:
    sizes = np.abs(Constant(recipe).value)
    least, most = recipe.magnitudes
    assert 0 <= least <= sizes[sizes > 0].min()
    assert sizes.max() <= most <= 100


def test_weights_of_reordered_channels() -> None:
    weight = Constant(DRAWN).value
    np.testing.assert_array_equal(Constant(RECIPES["reordered"]).value[:, 2], weight[:, 3])


def test_weights_of_phases() -> None:
    """Tap j of phase r is tap r + j * stride of the transposed convolution, in reverse."""
    weight, made = Constant(DRAWN).value, Constant(RECIPES["phased"]).value
    assert made.shape == (15, 13, 1, 3)
    for channel, phase in np.ndindex(5, 3):
        wanted = weight[:, channel, phase, ::-1]
        np.testing.assert_array_equal(made[channel * 3 + phase, :, 0], wanted)


def test_magnitudes_of_arrays() -> None:
    values = np.array([0, -3, 0.5], np.float32)
    assert Constant(values).magnitudes == (0.5, 3.0)
    assert Constant(np.float32(2)).magnitudes == (2.0, 2.0)
    assert np.isnan(Constant(np.array([1, np.nan], np.float32)).magnitudes).all()
    assert Constant(np.zeros(3, np.float32)).magnitudes == (np.inf, 0.0)


def test_rows_at_once() -> None:
    assert rows_at_once((10,)) == PART
    assert rows_at_once((10, PART + 1)) == 1
    assert rows_at_once((10, PART // 8), 3) == 6
    assert rows_at_once((10, PART), 48) == 48


def test_weights_are_transformed_along_both_axes() -> None:
    weight = Constant(DRAWN).value.astype(np.float64)
    matrix = cook_toom(6, 3).weight
    expected = along(matrix, along(matrix, weight, 2), 3).reshape(13, 5, 36)
    found = Constant(RECIPES["transformed"]).value
    np.testing.assert_allclose(found, expected.astype(np.float32), rtol=1e-6)


def test_what_scaling_would_destroy_is_found() -> None:
    small, large = np.full((2, 1), 1e-30, np.float32), np.full((2, 1), 1e30, np.float32)
    kind = TensorType.plain((2, 1))

    def survives(weight: Array, *factors: float) -> bool:
        return Scaled(Constant(weight), np.array(factors, float).reshape(-1, 1), kind).survives()

    assert survives(small, 1e-5, 1)
    assert not survives(small, 1e-20, 1)
    assert not survives(large, 1e20, 1)
    assert survives(large, 0, 1)
    mixed = np.array([[1e-30], [1e30]], np.float32)
    assert survives(mixed, 1e20, 1e-20)  # the extremes do not meet
    assert not survives(mixed, 1e-20, 1)
    assert not survives(np.full((2, 1), np.nan, np.float32), 1, 1)
