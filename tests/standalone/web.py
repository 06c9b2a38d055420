"""WebAssembly in Node: the same as the C program does, in JavaScript."""

import json
import subprocess
from pathlib import Path

import numpy as np

from cnnc.ir.graph import Array
from tests.standalone.networks import Built
from tests.standalone.program import read_outputs
from tests.tools import require_tool

_SCRIPT = """
const fs = require("fs");
const plan = JSON.parse(fs.readFileSync("plan.json"));
const code = new WebAssembly.Module(fs.readFileSync("net.wasm"));
const call = new WebAssembly.Instance(code, {}).exports;
let top = call.__heap_base.value;
function room(bytes) {
  const start = (top + 63) & ~63;
  top = start + bytes;
  const pages = Math.ceil(top / 65536) - call.memory.buffer.byteLength / 65536;
  if (pages > 0) call.memory.grow(pages);
  return start;
}
function text(at) {
  const bytes = new Uint8Array(call.memory.buffer, at);
  return Buffer.from(bytes.subarray(0, bytes.indexOf(0))).toString();
}
const arena = room(plan.arena), slot = room(4), other = room(64);
const ends = plan.ends.map((end) => room(end.bytes));
plan.ends.forEach((end, at) => {
  if (end.data) Buffer.from(end.data, "hex").copy(new Uint8Array(call.memory.buffer), ends[at]);
});
const run = call[plan.name + "_run"], part = call[plan.name + "_run_part"];
const open = call[plan.name + "_weights_open"], why = call[plan.name + "_strerror"];
const weights = call[plan.name + "_weights_builtin"]();
const opens = open(weights, plan.weights, slot);
const opened = new Int32Array(call.memory.buffer, slot, 1)[0];
console.log([
  run(weights, arena, ...ends), run(0, arena, ...ends), run(weights, arena + 8, ...ends),
  run(other, arena, ...ends), open(weights, plan.weights - 1, slot), open(other, 64, slot),
  open(0, 64, slot), opens, opened === weights ? 0 : 9,
  part(weights, arena, ...ends, 1, 1, 0, 0), part(weights, arena, ...ends, 0, 2, 0, 0),
  part(weights, arena, ...ends, 0, 1, 0, 0), weights & 63].join(" "));
console.log(text(why(3)) + "\\n" + text(why(77)));
plan.ends.forEach((end, at) => {
  if (!end.data) console.log(Buffer.from(call.memory.buffer, ends[at], end.bytes).toString("hex"));
});
"""
_EXPORTS = ("run", "run_part", "weights_open", "weights_builtin", "strerror")


def run(built: Built, folder: Path) -> tuple[str, dict[str, Array]]:
    """The statuses that the script prints, and the network's outputs."""
    node, linker = require_tool("node", "nodejs"), require_tool("wasm-ld", "lld")
    (folder / "net.o").write_bytes(built.code.object)
    (folder / "weights.o").write_bytes(built.weights)
    (folder / "run.cjs").write_text(_SCRIPT, encoding="utf-8")
    (folder / "plan.json").write_text(json.dumps(_plan(built)), encoding="utf-8")
    exports = [f"--export={built.abi.name}_{name}" for name in _EXPORTS]
    files = ["net.o", "weights.o", "-o", "net.wasm"]
    for command in (
        [linker, "--no-entry", "--export=__heap_base", *exports, *files],
        [node, "run.cjs"],
    ):
        ran = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=120
        )
        assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    return read_outputs(built.abi, ran.stdout)


def _plan(built: Built) -> dict[str, object]:
    abi, inputs = built.abi, built.subject.inputs
    ends = [
        {
            "bytes": end.size * end.dtype.bytes,
            "data": "" if end.is_output else np.ascontiguousarray(inputs[end.name]).tobytes().hex(),
        }
        for end in abi.ends
    ]
    return {
        "name": abi.name,
        "arena": abi.arena_bytes,
        "weights": abi.weights_bytes,
        "ends": ends,
    }
