"""`NAME_run_part` from a caller's own threads, on this machine."""

import subprocess
from pathlib import Path

import pytest

from cnnc import driver
from tests.standalone.networks import build, check
from tests.standalone.program import buffers, declarations, read_outputs
from tests.tools import require_tool

_PROGRAM = """
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
{declarations}
#define THREADS {threads}
static char arena[{arena}] __attribute__((aligned(64)));
{buffers}
static pthread_barrier_t all;
static int statuses[THREADS];
static void wait_for_all(void *context) {{ pthread_barrier_wait(context); }}
static void *work(void *number) {{
  int thread = (int)(size_t)number;
  const {name}_weights *weights = {name}_weights_builtin();
  for (int time = 0; time < 20; time++) {{
    pthread_barrier_wait(&all);
    statuses[thread] = {name}_run_part(weights, {ends}, thread, THREADS, wait_for_all, &all);
  }}
  return NULL;
}}
static void put_bytes(const void *data, size_t size) {{
  for (size_t at = 0; at < size; at++) printf("%02x", ((const unsigned char *)data)[at]);
  printf("\\n");
}}
int main(void) {{
  pthread_t threads[THREADS];
  pthread_barrier_init(&all, NULL, THREADS);
  for (size_t n = 0; n < THREADS; n++) pthread_create(&threads[n], NULL, work, (void *)n);
  for (int n = 0; n < THREADS; n++) pthread_join(threads[n], NULL);
  for (int n = 0; n < THREADS; n++) printf("%d ", statuses[n]);
  printf("\\n%s\\n%s\\n", {name}_strerror(3), {name}_strerror(77));
{outputs}
  return 0;
}}
"""


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", ["ds_cnn", "fsrcnn"])
def test_threads_compute_together(name: str, threads: int, tmp_path: Path) -> None:
    """With scratch memory of their own behind the arena, where kernels need some."""
    if not driver.can_run(driver.find_target("native")):
        pytest.skip("no code for this machine")
    compiler = require_tool("gcc", "gcc")
    built = build(name, "native")
    abi = built.abi
    text = _PROGRAM.format(
        declarations=declarations(abi),
        threads=threads,
        arena=abi.arena_bytes + (threads - 1) * abi.scratch_bytes,
        buffers=buffers(abi, built.subject.inputs),
        name=abi.name,
        ends=", ".join(["arena", *(end.c_name for end in abi.ends)]),
        outputs="\n".join(f"  put_bytes({o.c_name}, sizeof {o.c_name});" for o in abi.outputs),
    )
    (tmp_path / "main.c").write_text(text, encoding="utf-8")
    (tmp_path / "net.o").write_bytes(built.code.object)
    (tmp_path / "weights.o").write_bytes(built.weights)
    files = ["main.c", "net.o", "weights.o", "-o", "program"]
    subprocess.run(
        [compiler, "-O1", "-Wall", "-Werror", *files, "-pthread"], cwd=tmp_path, check=True
    )
    ran = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=True)
    statuses, outputs = read_outputs(abi, ran.stdout)
    assert statuses.split() == ["0"] * threads
    check(built, outputs)
