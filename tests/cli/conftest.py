"""The command line as a fixture, and small networks to run it on."""

from pathlib import Path

import pytest

from tests.cli.helpers import Runner

SMALL = """cnn 1
param width = 4
net small {
  input x: f32[N, 3, 5, 6]
  h = x -> conv(width, 3, pad = same) -> relu
  output y = h -> pool(avg, global) -> flatten -> dense(3)
  weights he(seed = 2)
}
net other {
  input a: f32[N, 2]
  input b: f32[N, 2]
  output s = a + b
}
"""


@pytest.fixture
def cnnc(capsys: pytest.CaptureFixture[str]) -> Runner:
    """The command line."""
    return Runner(capsys)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A file of two nets."""
    path = tmp_path / "small.cnn"
    path.write_text(SMALL)
    return path
