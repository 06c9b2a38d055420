"""Names that nobody reads go, and whatever is needed for them alone."""

from cnnc.loop.kernel import Let, walk
from cnnc.loop.parse import parse_kernel
from cnnc.loop.unused import without_unused

TEXT = """kernel k {
  in x: f32[4]
  out y: f32[4]
  for i in 4 {
    let a = x[i] + 1.0
    let b = a * 2.0
    let c = a - 1.0
    for j in 2 {
      let b = x[j]
      y[i] = c
    }
  }
  for i in 4 {
    let b = x[i]
    y[i] = b
  }
}
"""


def test_what_nobody_reads_goes() -> None:
    body = without_unused(parse_kernel(TEXT).body)
    assert [stmt.name for stmt in walk(body) if isinstance(stmt, Let)] == ["a", "c", "b"]
