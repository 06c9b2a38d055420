"""Modules compiled as a whole."""

import copy
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest

import cnnc.torch
from cnnc.base.errors import UserError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from tests.torch import nets  # noqa: E402  after it is known that torch is there

close = torch.testing.assert_close


def small() -> tuple[torch.nn.Module, torch.Tensor]:
    """A convolution and a batchnorm, and samples for them."""
    layers = [torch.nn.Conv2d(3, 8, 3, bias=False), torch.nn.BatchNorm2d(8), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers).eval(), torch.randn(2, 3, 8, 8)


@pytest.mark.parametrize("name", nets.NETS)
def test_networks(name: str) -> None:
    """The same results, in one net, with nothing left to torch."""
    module, x = nets.made(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled = cnnc.torch.compile_module(module, x)
    assert not compiled.report.fallen
    assert compiled.report.nets == len(compiled.networks) == 1
    with torch.no_grad():
        close(compiled(x), module(x), rtol=1e-3, atol=1e-4)


def test_structures_of_arguments_and_results() -> None:
    """They are the module's, and what is not given is an error."""

    class Module(torch.nn.Module):
        def forward(self, pair: tuple, scale: float, *, offset: torch.Tensor) -> dict:
            a, b = pair
            return {"sum": a + b * scale, "rest": [offset - a, None, 7], "flat": a.mean()}

    a, b = torch.ones(2, 3), torch.full((3,), 2.0)
    module = Module()
    compiled = cnnc.torch.compile_module(module, ((a, b), 0.5), {"offset": b})
    found, expected = compiled((a, b), 0.5, offset=b), module((a, b), 0.5, offset=b)
    assert found["rest"][1:] == [None, 7]
    close(found["rest"][0], expected["rest"][0])
    close([found["sum"], found["flat"]], [expected["sum"], expected["flat"]])
    for args in (((a, b), 0.5), ((a, b, b), 0.5)):
        with pytest.raises(UserError, match="built like"):
            compiled(*args, **({} if len(args[0]) == 2 else {"offset": b}))
    with pytest.raises(UserError, match="argument 0 is"):
        compiled((a[:1], b), 0.5, offset=b)
    with pytest.raises(UserError, match=r"argument 0 is no tensor of torch\.float32: ndarray"):
        compiled((a.numpy(), b), 0.5, offset=b)
    with pytest.raises(UserError, match="argument 0 is a tensor of meta, not cpu"):
        compiled((a.to("meta"), b), 0.5, offset=b)
    with pytest.raises(UserError, match="float64"):
        compiled((a.double(), b), 0.5, offset=b)
    with pytest.raises(UserError, match=r"argument 2 is 0\.25, not 0\.5"):
        compiled((a, b), 0.25, offset=b)


def test_tensors_that_do_not_lie_in_rows() -> None:
    """They are copied, and records of gradients do not matter."""
    module, x = small()
    compiled = cnnc.torch.compile_module(module, x)
    last = x.to(memory_format=torch.channels_last).requires_grad_()
    close(compiled(last), compiled(x))
    assert not compiled(last).requires_grad


def test_weights_are_shared() -> None:
    """The net's constants are the memory of the module's parameters."""
    module, x = nets.made("resnet18")
    compiled = cnnc.torch.compile_module(module, x)
    (network,) = compiled.networks
    held = {each.data_ptr(): name for name, each in module.state_dict().items()}
    arrays = [node.constant for node in network.graph.nodes if node.is_constant]
    large = [array for array in arrays if array.size > 1]
    assert {each.__array_interface__["data"][0] for each in large} <= {*held}
    assert len(large) >= 60


def test_weights_that_change() -> None:
    """What `load_state_dict` or an optimiser does in place is seen by the next call."""
    module, x = nets.made("line")
    compiled = cnnc.torch.compile_module(module, x)
    before = compiled(x)
    module.load_state_dict({name: value * 1.5 for name, value in module.state_dict().items()})
    with torch.no_grad():
        close(compiled(x), module(x), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(before, compiled(x))


def test_weights_that_are_replaced() -> None:
    """Another parameter in place of one is seen, if it has the same shape."""
    module, x = small()
    compiled = cnnc.torch.compile_module(module, x)
    module[0].weight = torch.nn.Parameter(module[0].weight * 2)
    close(compiled(x), module(x).detach())
    state = {name: value * 1.5 for name, value in module.state_dict().items()}
    module.load_state_dict(state, assign=True)
    close(compiled(x), module(x).detach())
    module[0].weight.data = module[0].weight.data / 2
    close(compiled(x), module(x).detach())
    module[0].weight = torch.nn.Parameter(torch.zeros(9, 3, 3, 3))
    with pytest.raises(UserError, match=r"`0\.weight` is another tensor.*\n.*shape is .*9, 3, 3"):
        compiled(x)
    del module[0].weight
    with pytest.raises(UserError, match=r"no `0\.weight` any more"):
        compiled(x)


class Knows(torch.nn.Module):
    """Results that do not depend on its input."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return torch.relu(x), self.weight * 2, self.weight


def test_known_results_are_handed_out_as_copies() -> None:
    """What somebody does to them is not in the next ones, nor in the weights."""
    module, x = Knows(), torch.ones(1, 3)
    compiled = cnnc.torch.compile_module(module, x)
    for result in compiled(x)[1:]:
        assert not result.requires_grad
        result.add_(100)
    assert [each[0].item() for each in compiled(x)[1:]] == [2, 1]
    assert module.weight[0] == 1


def test_integers_are_compared_as_they_are() -> None:
    """Beyond 2**24 float32 does not have all of them."""

    class Equals(torch.nn.Module):
        def forward(self, a: torch.Tensor) -> torch.Tensor:
            return a == 2**24 + 1

    a = torch.tensor([[2**24, 2**24 + 1, 2**24 + 2]])
    assert cnnc.torch.compile_module(Equals(), a)(a).tolist() == [[False, True, False]]


def test_arguments_by_place_or_by_name() -> None:
    """A call gives them as the module would take them, not only as the example did."""

    class Module(torch.nn.Module):
        def forward(
            self, x: torch.Tensor, y: torch.Tensor | None = None, factor: float = 2.0
        ) -> torch.Tensor:
            return (x if y is None else x - y) * factor

    x, y = torch.ones(2, 3), torch.full((2, 3), 5.0)
    compiled = cnnc.torch.compile_module(Module(), x, {"y": y})
    for made in (compiled(x, y), compiled(y=y, x=x), compiled(x, y, 2.0), compiled(x, y=y)):
        close(made, (x - y) * 2)
    for args, kwargs in (((x, y, 3.0), {}), ((x,), {}), ((x,), {"z": y})):
        with pytest.raises(UserError, match=r"built like|argument 1"):
            compiled(*args, **kwargs)


def test_copies_and_pickles() -> None:
    """They have modules of their own, compiled for the same options."""
    module, x = small()
    compiled = cnnc.torch.compile_module(module, x[:1], batch=(1, 2), exact=True)
    for each in (copy.deepcopy(compiled), pickle.loads(pickle.dumps(compiled))):
        close(each(x), compiled(x))
        assert each.networks[0].options == compiled.networks[0].options
    assert repr(compiled) == "<CompiledModule Sequential: 3 nodes in 1 net of cnnc, 0 in torch>"
    other = copy.deepcopy(compiled)
    with torch.no_grad():
        module[0].weight.zero_()
    assert not torch.allclose(other(x), compiled(x))


def test_parts_of_the_zoo() -> None:
    """What networks of today are made of is taken whole."""
    for name, (kind, shape) in nets.PARTS.items():
        module, x = kind().eval(), torch.randn(shape)
        compiled = cnnc.torch.compile_module(module, x, fallback=False)
        with torch.no_grad():
            close(compiled(x), module(x), rtol=1e-3, atol=1e-4, msg=lambda text, n=name: n + text)


def test_weights_computed_of_others() -> None:
    """Weights that are computed of parameters follow these; so do names that two modules share."""

    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            conv = torch.nn.Conv1d(3, 4, 3)
            self.conv = torch.nn.utils.parametrizations.weight_norm(conv)
            self.first = self.second = torch.nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(self.conv(x).mean(-1)))

    module, x = Module(), torch.randn(2, 3, 8)
    compiled = cnnc.torch.compile_module(module, x)
    with torch.no_grad():
        close(compiled(x), module(x))
        module.conv.parametrizations.weight.original0.mul_(3.0)
        close(compiled(x), module(x))
    assert "dense(4)" in cnnc.torch.to_text(module, x)


def test_an_example_that_is_given_twice() -> None:
    """The inputs stay two."""

    class Module(torch.nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return a - b

    a, b = torch.ones(2, 3), torch.zeros(2, 3)
    close(cnnc.torch.compile_module(Module(), (a, a))(a, b), a)
    compiled = cnnc.torch.compile_module(Module(), (a, a), batch=(1, 3))
    close(compiled(a[:1], b[:1]), a[:1])


def test_the_module_stays_as_it_was() -> None:
    """A module in training is compiled for inference."""
    module, x = small()
    expected = module(x)
    module.train()
    module[1].eval()
    compiled = cnnc.torch.compile_module(module, x)
    assert module.training
    assert not module[1].training
    close(compiled(x), expected, rtol=1e-3, atol=1e-4)


def test_batches() -> None:
    """A range takes any number of samples in it; a module for one number is refused."""
    module, x = nets.made("line")
    compiled = cnnc.torch.compile_module(module, x[:1], batch=(1, 4))
    more = torch.randn(4, 2, 32)
    with torch.no_grad():
        for count in (1, 3, 4):
            close(compiled(more[:count]), module(more[:count]), rtol=1e-3, atol=1e-4)
    with pytest.raises(UserError, match=r"not \[1..4, 2, 32\]"):
        compiled(torch.randn(5, 2, 32))

    class Mean(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.sum(1) / x.shape[0]

    class Fixed(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.reshape(2, -1)

    for each in (Mean(), Fixed()):
        with pytest.raises(UserError, match="one number of samples"):
            cnnc.torch.compile_module(each, torch.ones(2, 3), batch=(1, 4))


def test_fallback() -> None:
    """What cnnc cannot take runs in torch, and is told."""
    module, x = nets.Odd().eval(), torch.randn(2, 3, 8, 8)
    with pytest.warns(cnnc.torch.FallbackWarning, match="sort") as told:
        compiled = cnnc.torch.compile_module(module, x)
    assert told[0].filename == __file__
    assert [each.operator for each in compiled.report.fallen] == ["sort.default"]
    assert compiled.report.fallen[0].why == "cnnc has no such operator"
    assert compiled.report.nets == 2
    with torch.no_grad():
        close(compiled(x), module(x))
    with pytest.raises(UserError, match=r"E0902.*aten.sort.default"):
        cnnc.torch.compile_module(module, x, fallback=False)
    with pytest.raises(UserError, match=r"E0902.*aten.sort.default"):
        cnnc.torch.to_text(module, x)


def test_what_cannot_be_compiled(capfd: pytest.CaptureFixture[str]) -> None:
    """Each is one clear error."""

    class Counts(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return x + self.calls

    class Depends(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    x = torch.ones(2, 3)
    with pytest.raises(UserError, match="changes its buffer `calls`"):
        cnnc.torch.compile_module(Counts(), x)
    with pytest.raises(UserError, match="torch cannot export Depends") as caught:
        cnnc.torch.compile_module(Depends(), x)
    assert all(each.strip() for each in caught.value.diagnostics[0].notes)
    assert "def forward" not in capfd.readouterr().err
    with pytest.raises(UserError, match=r"no torch.nn.Module"):
        cnnc.torch.compile_module(torch.relu, x)
    with pytest.warns(cnnc.torch.FallbackWarning, match="float64"):
        assert cnnc.torch.compile_module(torch.nn.ReLU(), x.double())(x.double()).shape == (2, 3)


@pytest.mark.parametrize("name", ["resnet18", "unet", "line"])
def test_as_text(name: str, tmp_path: Path) -> None:
    """Files say the same, and the weights are called as in the state_dict."""
    module, x = nets.made(name)
    made = cnnc.torch.write(module, x, tmp_path, name=name)
    assert made.path == tmp_path / f"{name}.cnn"
    results = cnnc.load(made.path, batch=2).compile()(x.numpy()).values()
    with torch.no_grad():
        expected = module(x)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for one, other in zip(results, expected, strict=True):
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-3, atol=1e-4)
    from safetensors import safe_open

    with safe_open(made.weights, "pt") as file:
        names = {*file.keys()}
        state = {each for each in module.state_dict() if not each.endswith("num_batches_tracked")}
        assert names == state
        assert all(torch.equal(file.get_tensor(each), module.state_dict()[each]) for each in names)


def test_the_text_of_resnet() -> None:
    """Stages and blocks are found again."""
    text = cnnc.torch.to_text(*nets.made("resnet18"))
    assert "-> fc: dense(10)" in text
    assert "repeat(2)" in text
    assert "layer2 = layer1 -> residual(16)" in text
    assert 'weights "ResNet18.safetensors"' in text
