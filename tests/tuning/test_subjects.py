"""What can be chosen for the layers of a net."""

from dataclasses import replace

import pytest

import cnnc
from cnnc import driver
from cnnc.offers.offer import root_of
from cnnc.ops.strassen import Strassen
from cnnc.tunefile import TuneFile
from cnnc.tuning.subjects import find_subjects


@pytest.mark.parametrize("exact", [False, True])
def test_seven_products_are_the_default_where_the_net_takes_them(exact: bool) -> None:
    """And they are offered where it does not, unless they round too much."""
    text = """cnn 1
net n {
  input x: f32[N, 512, 14, 28]
  output y = x -> conv(512, 1) -> relu -> conv(64, 1)
  weights he(seed = 3)
}
"""
    target = driver.find_target("x86-64-v3")
    choices = TuneFile("", {}).choices(target, exact=exact)
    found = find_subjects(cnnc.load_text(text).graph, target, choices, exact=exact)
    offered = [{each.choice.algorithm for each in subject.candidates} for subject in found]
    algorithms = {"direct"} if exact else {"direct", "strassen"}
    assert offered == [algorithms, algorithms]
    assert [each.default.algorithm for each in found] == [
        "direct" if exact else "strassen",
        "direct",
    ]


def test_the_default_is_that_of_a_net_whose_weights_come_from_memory() -> None:
    """A layer alone, whose weights do not, would take seven products."""
    text = """cnn 1
net n {
  input x: f32[N, 512, 4, 14]
  output y = x -> conv(512, 1) -> relu -> conv(512, 3, pad = same) -> relu -> conv(64, 1)
  weights he(seed = 3)
}
"""
    target = replace(driver.find_target("x86-64-v3"), l3_bytes=6 << 20)
    graph = cnnc.load_text(text).graph
    nodes = driver.optimise(graph, driver.pipeline(target)).nodes
    used = [node for node in nodes if not node.is_leaf and isinstance(root_of(node)[0], Strassen)]
    choices = TuneFile("", {}).choices(target, exact=False)
    found = find_subjects(graph, target, choices, exact=False)
    defaults = [each.default for each in found if each.default.algorithm == "strassen"]
    assert not used
    assert not defaults
