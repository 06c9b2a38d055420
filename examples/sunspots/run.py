"""Forecast the yearly sunspot number with natively compiled sunspots.cnn.

Usage (the plot needs matplotlib, extra `plot`):

    python examples/sunspots/run.py [--plot FILE | --no-plot]

Prints the root-mean-square error over the held-out years 1949..2008, for several years ahead,
beside three baselines: persistence (the last known year), seasonal naive (eleven years before) and
a linear autoregression on nine years. Several years ahead are forecast one by one, each from the
forecasts before it.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

import cnnc

HERE = Path(__file__).parent
WINDOW = 16
HELD_OUT = 60
CYCLE = 11
AHEAD = 11
LAGS = 9

Floats: TypeAlias = NDArray[np.float64]
Step: TypeAlias = Callable[[Floats], Floats]
"""From windows of sunspot numbers (n, WINDOW) to the year that follows each (n)."""


def number(root: Floats) -> Floats:
    """Sunspot numbers from square roots; a negative root counts as none."""
    positive: Floats = np.maximum(root, 0)
    return positive**2


def network() -> Step:
    """One year ahead by the compiled network; it works on scaled square roots."""
    net = cnnc.load(HERE / "sunspots.cnn").compile(threads=1)

    def step(windows: Floats) -> Floats:
        series = ((np.sqrt(windows) - 6) / 3).astype(np.float32)[:, None, :]
        last = net(series)["forecast"][:, 0, -1].astype(np.float64)
        return number(last * 3 + 6)

    return step


def autoregression(train: Floats) -> Step:
    """One year ahead by least squares on the square roots of the last LAGS years."""
    past = np.sqrt(np.lib.stride_tricks.sliding_window_view(train, LAGS))[:-1]
    weights = np.linalg.lstsq(np.c_[past, np.ones(len(past))], np.sqrt(train[LAGS:]))[0]

    def step(windows: Floats) -> Floats:
        root = np.sqrt(windows[:, -LAGS:]) @ weights[:-1] + weights[-1]
        return number(root)

    return step


def persistence(windows: Floats) -> Floats:
    """One year ahead as the last known year."""
    return windows[:, -1]


def seasonal(windows: Floats) -> Floats:
    """One year ahead as the year one solar cycle before it."""
    return windows[:, -CYCLE]


def iterated(step: Step, windows: Floats, ahead: int) -> Floats:
    """Forecasts (n, ahead) after windows (n, WINDOW), each made from those before it."""
    for _ in range(ahead):
        windows = np.c_[windows, step(windows[:, -WINDOW:])]
    return windows[:, -ahead:]


def rmse(step: Step, value: Floats, ahead: int) -> float:
    """Error of forecasts `ahead` years ahead, over every held-out year."""
    targets = np.arange(len(value) - HELD_OUT, len(value))
    windows = value[(targets - ahead + 1)[:, None] + np.arange(-WINDOW, 0)]
    error = iterated(step, windows, ahead)[:, -1] - value[targets]
    return float(np.sqrt(np.mean(error**2)))


def plot(year: NDArray[np.int64], value: Floats, step: Step, path: Path) -> None:
    """Draw the held-out years, forecast one year ahead, and a free run beyond the series."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    windows = np.lib.stride_tricks.sliding_window_view(value, WINDOW)[-HELD_OUT - 1 : -1]
    beyond = iterated(step, value[None, -WINDOW:], AHEAD)[0]
    figure, axes = plt.subplots(figsize=(10, 4), layout="constrained")
    axes.plot(year[-110:], value[-110:], color="0.55", label="observed")
    axes.plot(year[-HELD_OUT:], step(windows), "o-", ms=3, lw=1, label="forecast, one year ahead")
    axes.plot(year[-1] + np.arange(1, AHEAD + 1), beyond, "s--", ms=3, lw=1, label="free run")
    axes.axvline(float(year[-HELD_OUT]) - 0.5, color="0.8", lw=1, zorder=0)
    axes.set(xlabel="year", ylabel="sunspot number", title="Held-out years 1949–2008")
    axes.legend(loc="upper left", frameon=False)
    figure.savefig(path, dpi=110)
    print(f"\nplot in {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Forecast sunspots with sunspots.cnn.")
    parser.add_argument("--plot", type=Path, default=Path("sunspots.png"))
    parser.add_argument("--no-plot", action="store_true")
    options = parser.parse_args()
    with np.load(HERE / "sunspots.npz") as series:
        year, value = series["year"], series["value"]

    net = network()
    methods: dict[str, Step] = {
        "sunspots.cnn": net,
        "persistence": persistence,
        f"{CYCLE} years before": seasonal,
        f"linear, {LAGS} years": autoregression(value[:-HELD_OUT]),
    }
    horizons = (1, 2, 3, 5, 8, AHEAD)
    print(f"RMSE over {year[-HELD_OUT]}..{year[-1]}, by years ahead")
    print(f"{'':16}" + "".join(f"{ahead:8}" for ahead in horizons))
    for name, step in methods.items():
        print(f"{name:16}" + "".join(f"{rmse(step, value, ahead):8.1f}" for ahead in horizons))
    if not options.no_plot:
        plot(year, value, net, options.plot)


if __name__ == "__main__":
    main()
