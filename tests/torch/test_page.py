"""docs/torch.md does what it says."""

import re
from pathlib import Path

import pytest

import cnnc.torch

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "torch.md"


def test_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its Python runs from top to bottom, and prints what its comments say."""
    monkeypatch.chdir(tmp_path)
    torch._dynamo.reset()
    names: dict[str, object] = {"cnnc": cnnc}
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 5
    for block in blocks:
        code = compile(block, PAGE.name, "exec")
        if "FallbackWarning" in block:
            with pytest.warns(cnnc.torch.FallbackWarning, match="sort"):
                exec(code, names)
        else:
            exec(code, names)
        said = re.findall(r"^# (.*)", block, re.MULTILINE)
        assert [line.strip() for line in capsys.readouterr().out.splitlines()] == [
            line.strip() for line in said
        ]
    assert "dense(10)" in str(names["text"])
    model = cnnc.load(tmp_path / "models" / "small.cnn", batch=2)
    made = next(iter(model.compile()(names["images"]).values()))
    torch.testing.assert_close(torch.from_numpy(made), names["scores"], rtol=1e-3, atol=1e-4)
