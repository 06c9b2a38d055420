"""`torch.compile(module, backend="cnnc")`."""

import copy
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import cnnc.torch

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")]

from tests.torch import nets  # noqa: E402  after it is known that torch is there

close = torch.testing.assert_close


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Nothing compiled before, and no gradients."""
    torch._dynamo.reset()
    cnnc.torch.register()
    cnnc.torch.report(clear=True)
    with torch.no_grad():
        yield


@pytest.mark.parametrize("name", nets.NETS)
def test_networks(name: str) -> None:
    """The same results, with nothing left to torch."""
    module, x = nets.made(name)
    compiled = torch.compile(module, backend="cnnc")
    close(compiled(x), module(x), rtol=1e-3, atol=1e-4)
    (part,) = cnnc.torch.report().parts
    assert not part.fallen
    assert part.nets == 1


def test_other_shapes_and_weights() -> None:
    """A graph is compiled again for what is new, and only for that."""
    module, x = nets.made("line")
    compiled = torch.compile(module, backend="cnnc", options={"threads": 2})
    for given in (x, torch.randn(3, 2, 32), x):
        close(compiled(given), module(given), rtol=1e-3, atol=1e-4)
    count = len(cnnc.torch.report().parts)
    module.head.bias += 1
    close(compiled(x), module(x), rtol=1e-3, atol=1e-4)
    assert len(cnnc.torch.report().parts) == count + 1


def test_fallback(caplog: pytest.LogCaptureFixture) -> None:
    """An operator that cnnc does not have runs in torch between two nets; it is told."""
    module, x = nets.Odd().eval(), torch.randn(2, 3, 8, 8)
    compiled = torch.compile(module, backend="cnnc")
    caplog.set_level(logging.INFO, "cnnc.torch")
    with pytest.warns(cnnc.torch.FallbackWarning, match=r"sort.default: cnnc has no such operator"):
        close(compiled(x), module(x))
    report = cnnc.torch.report()
    assert [(each.operator, each.why) for each in report.fallen] == [
        ("sort.default", "cnnc has no such operator")
    ]
    assert report.parts[0].nets == 2
    assert "sort.default: cnnc has no such operator" in str(report)
    assert "1 in torch" in caplog.text
    close(compiled(x + 1), module(x + 1))  # says nothing again: warnings are errors here


def test_graph_breaks() -> None:
    """Python between graphs stays Python; each graph is compiled."""

    def function(x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(x) * 2
        torch._dynamo.graph_break()
        return torch.sigmoid(y) + y

    x = torch.randn(4, 3)
    close(torch.compile(function, backend="cnnc")(x), function(x))
    assert [part.nets for part in cnnc.torch.report().parts] == [1, 1]


def test_numbers_that_change() -> None:
    """Numbers that torch hands over as tensors are constants of nets, unless they always change."""

    def scaled(x: torch.Tensor, factor: float) -> torch.Tensor:
        return torch.relu(x) * factor

    compiled, x = torch.compile(scaled, backend="cnnc", dynamic=True), torch.randn(2, 3)
    for factor in (0.5, 1.5, 0.5):
        close(compiled(x, factor), scaled(x, factor))
    report = cnnc.torch.report()
    assert not report.fallen
    assert len(report.parts) == 2
    for step in range(6):
        close(compiled(x, step + 0.25), scaled(x, step + 0.25))
    with pytest.warns(cnnc.torch.FallbackWarning, match="changes from call to call"):
        close(compiled(x, 6.25), scaled(x, 6.25))
    close(compiled(x, 7.25), scaled(x, 7.25))


def test_dynamic_shapes() -> None:
    """A batchnorm's eps is such a number where all is dynamic."""
    module, x = nets.made("resnet18")
    compiled = torch.compile(module, backend="cnnc", dynamic=True, fullgraph=True)
    for given in (x, x[:1]):
        close(compiled(given), module(given), rtol=1e-3, atol=1e-4)
    assert not cnnc.torch.report().fallen


def test_threads() -> None:
    """Forms that were called before run in any thread; modules are compiled one after the other."""
    module, x = nets.made("line")
    compiled = torch.compile(module, backend="cnnc")
    counts = (1, 2) * 4
    expected = {count: compiled(x[:count]) for count in (2, 1)}

    def call(count: int) -> torch.Tensor:
        with torch.no_grad():
            return compiled(x[:count])

    with ThreadPoolExecutor(4) as pool:
        for count, made in zip(counts, pool.map(call, counts), strict=True):
            close(made, expected[count])
        copies = [copy.deepcopy(module) for _ in range(4)]
        for made in [*pool.map(lambda each: cnnc.torch.compile_module(each, x[:1]), copies)]:
            close(made(x[:1]), expected[1])
    assert not torch.compiler.is_exporting()


def test_gradients() -> None:
    """Where they are recorded torch runs the graph, and the reason is given."""
    module, x = nets.made("line")
    compiled = torch.compile(module, backend="cnnc")
    warned = pytest.warns(cnnc.torch.FallbackWarning, match="under torch.no_grad")
    with torch.enable_grad(), warned:
        compiled(x).sum().backward()
    assert module.head.weight.grad is not None
    assert {each.why for each in cnnc.torch.report().fallen} == {
        "gradients are recorded; call it under torch.no_grad()"
    }


def test_views_and_changes_of_inputs() -> None:
    """What a function does to its inputs it does when compiled."""

    def view(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x.view(6), x * 2

    def change(x: torch.Tensor) -> torch.Tensor:
        x.add_(1)
        return x * 2

    x = torch.zeros(2, 3)
    with pytest.warns(cnnc.torch.FallbackWarning, match="view of an input"):
        seen, _ = torch.compile(view, backend="cnnc")(x)
    seen[0] = 5
    assert x[0, 0] == 5
    with pytest.warns(cnnc.torch.FallbackWarning, match="changes its input"):
        y = torch.compile(change, backend="cnnc")(x)
    close(y, x * 2)
    assert x[0, 0] == 6
    norm = torch.nn.BatchNorm2d(3)
    with pytest.warns(cnnc.torch.FallbackWarning, match="changes its input `.*num_batches_tracked"):
        torch.compile(norm, backend="cnnc")(torch.randn(2, 3, 4, 4))
    assert norm.running_mean.abs().sum() > 0


def test_results_are_kept_apart() -> None:
    """The next call does not write over results of the one before."""
    compiled = torch.compile(torch.relu, backend="cnnc")
    first = compiled(torch.ones(2, 3))
    compiled(torch.full((2, 3), 7.0))
    close(first, torch.ones(2, 3))


def test_options_that_cannot_be() -> None:
    """They are errors, and nothing falls back."""
    compiled = torch.compile(torch.relu, backend="cnnc", options={"threads": -1})
    with pytest.raises(Exception, match="threads"):
        compiled(torch.ones(2, 3))
