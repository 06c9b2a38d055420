"""Names of other frameworks: what the help says can be written."""

import pytest

from cnnc.base.errors import UserError
from cnnc.frontend.foreign import STAGES
from cnnc.ops.spec import find
from tests.frontend.helpers import net


def build(stage: str, before: str = "") -> None:
    net(f"  output y = x {before} -> {stage}", image="f32[N, 4, 8, 8]")


def help_for(stage: str) -> str | None:
    with pytest.raises(UserError) as caught:
        build(stage)
    return caught.value.diagnostics[0].help


@pytest.mark.parametrize("name", STAGES)
def test_what_it_is_called_here_can_be_written(name: str) -> None:
    stage = STAGES[name]
    assert find(name) is None
    assert help_for(name) == f"here it is `{stage}`, for example"
    build(stage, before="-> flatten" if stage.startswith("dense") else "")


@pytest.mark.parametrize(
    ("stage", "called"),
    [
        ("MaxPool2d(2)", "`pool(max, 2)`, for example"),
        ("depthwise_conv(3)", "`conv(x.channels, 3, groups = x.channels)`, for example"),
        ("conv(filters = 8, kernel = 3)", "called `channels`"),
        ("pool(max, kernel_size = 2)", "called `size`"),
        ("concat(dim = 1)", "called `axis`"),
        ("reduce(mean, dim = [2, 3])", "called `axes`"),
        ("leaky_relu(negative_slope = 0.1)", "called `slope`"),
    ],
)
def test_spellings(stage: str, called: str) -> None:
    text = help_for(stage)
    assert text is not None
    assert text.endswith(called)


def test_other_names_are_searched_for_as_before() -> None:
    assert help_for("conv2d(8, 3)") == "did you mean `conv`?"
    assert help_for("conv(8, kernel_size = 3)") == "did you mean `kernel`?"
    assert help_for("quux") == "`cnnc ops` lists the operators"
