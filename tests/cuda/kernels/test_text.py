"""What no run on a CPU shows, and the text does: fences around counts, waiting before reading."""

import re

import pytest

from tests.cuda.kernels.cases import all_cases
from tests.cuda.kernels.harness import Case

COUNT = re.compile(r"atomicAdd\(counters")
BEFORE = re.compile(
    r"__threadfence\(\);\s+__syncthreads\(\);\s+[^;]*;?\s*if \(thread(Idx\.x)? == 0\) \w+ = $"
)
BEHIND = re.compile(r"[^;]*;\s+__syncthreads\(\);\s+if \(\w+ != \d+\) return;\s+__threadfence\(\);")
EARLY = re.compile(r"cnnc::wait_for_previous\(\);")


def _body(case: Case) -> str:
    source = case.kernel.source
    return re.sub("//.*", "", source[source.index("__global__") :].split("{", 1)[1])


CASES = {case.kernel.name: case for case in all_cases()}


@pytest.mark.parametrize("name", CASES)
def test_blocks_count_themselves_between_fences(name: str) -> None:
    """What was written before is seen by whoever sees the count."""
    body = _body(CASES[name])
    counts = list(COUNT.finditer(body))
    assert bool(counts) == (CASES[name].kernel.counters > 0)
    for count in counts:
        assert BEFORE.search(body[: count.start()]), name
        assert BEHIND.match(body[count.end() :]), name


@pytest.mark.parametrize("name", CASES)
def test_nothing_that_others_write_is_read_before_they_are_waited_for(name: str) -> None:
    """Weights may be; x, what a tail reads, and parts may not, nor may anything be written."""
    body = _body(CASES[name])
    before, behind = EARLY.split(body)
    if "auto copy_x" in before or "auto fetch" in before:  # what is called behind it
        before = re.sub(r"auto (copy_x|fetch) = .*?\n  };\n", "", before, flags=re.DOTALL)
    assert "copy_x(" not in before
    assert not re.search(r"(?<!\.)\b(x|e\d|y|bias|workspace|counters)\b *(\+|\[)", before), before
    assert re.search(r"\bx\b", behind) or "x_tile" in behind


@pytest.mark.parametrize("name", CASES)
def test_parts_of_other_blocks_come_from_the_cache_that_all_share(name: str) -> None:
    """Also what was pooled; the first-level cache may have older values."""
    for line in _body(CASES[name]).splitlines():
        if "workspace" in line or "__shared__" in line:
            continue
        for found in re.finditer(r"\b(parts \+|of_blocks\b)", line):
            called = line[: found.start()].rpartition("(")[0]
            assert called.endswith(("__ldcg", "__stcg")), line
