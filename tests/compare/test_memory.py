"""The comparison keeps the values of a few layers, however deep the network is."""

import tracemalloc

import cnnc

LAYERS = 60
TEXT = f"""cnn 1
net deep {{
  input x: f32[N, 4, 32768]
  output y = x -> repeat({LAYERS}) {{ softmax }}
}}
"""


def test_memory_does_not_grow_with_depth() -> None:
    """A layer's value is 1 MiB in float64; all of them together would be sixty."""
    network = cnnc.load_text(TEXT).compile()
    value = 4 * 32768 * 8
    assert len(network.layers) >= LAYERS
    tracemalloc.start()
    try:
        report = cnnc.diff(network)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.ok
    assert peak < LAYERS / 2 * value
