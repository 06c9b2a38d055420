"""A small C program around a network's object: it prints statuses and outputs, byte by byte.

It needs no library but what the object itself needs: each machine says how to print and to end.
"""

from collections.abc import Mapping
from math import prod

import numpy as np

from cnnc.backends.abi import UNKNOWN_STATUS, Abi, Argument, Status
from cnnc.ir.graph import Array

LINUX = """
#include <stdio.h>
#include <stdlib.h>
static void put(const char *text) { fputs(text, stdout); }
int main(void) { test(); return 0; }
"""

_MEMORY = """void *memcpy(void *to, const void *from, size_t n);
void *memcpy(void *to, const void *from, size_t n) {
  const char *source = from;
  for (char *place = to; n--; place++, source++) { *place = *source; __asm__ volatile(""); }
  return to;
}
void *memset(void *to, int byte, size_t n);
void *memset(void *to, int byte, size_t n) {
  char *place = to;
  while (n--) { *place++ = (char)byte; __asm__ volatile(""); }
  return to;
}
"""

SEMIHOSTING = """
static void host(int what, const void *with) {
  register int r0 __asm__("r0") = what;
  register const void *r1 __asm__("r1") = with;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}
static void put(const char *text) { host(4, text); }
static void reset(void) {
#if defined(__ARM_FP)
  *(volatile unsigned *)0xE000ED88 |= 0xFu << 20; /* floating point on */
#endif
  test();
  host(0x18, (const void *)0x20026);
}
extern char stack_top[];
__attribute__((section(".vectors"), used)) static const void *const vectors[] = {
  stack_top, (const void *)reset };
"""
SEMIHOSTING += _MEMORY

SEMIHOSTING_LAYOUT = """
MEMORY { code (rx) : ORIGIN = 0, LENGTH = 4M  data (rw) : ORIGIN = 0x20000000, LENGTH = 4M }
SECTIONS {
  .text : { KEEP(*(.vectors)) *(.text*) *(.rodata*) *(.ARM.*) } > code
  .data : { *(.data*) } > data
  .bss : { *(.bss*) *(COMMON) } > data
  stack_top = ORIGIN(data) + LENGTH(data);
}
"""

FREESTANDING_RISCV = """
static long call(long number, long a, long b, long c) {
  register long a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c;
  register long a7 __asm__("a7") = number;
  __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a7) : "memory");
  return a0;
}
static void put(const char *text) {
  long length = 0;
  while (text[length]) length++;
  call(64, 1, (long)text, length);
}
void _start(void);
void _start(void) { test(); call(93, 0, 0, 0); }
"""
FREESTANDING_RISCV += _MEMORY

_BODY = """
static char arena[{arena}] __attribute__((aligned(64)));
static char other[64] __attribute__((aligned(64)));
{buffers}
static void put_bytes(const void *data, size_t size) {{
  const unsigned char *bytes = data;
  for (size_t at = 0; at < size; at++) {{
    char text[3] = {{ "0123456789abcdef"[bytes[at] >> 4], "0123456789abcdef"[bytes[at] & 15], 0 }};
    put(text);
  }}
  put("\\n");
}}
static void put_status(int status) {{
  char text[3] = {{ (char)('0' + status), ' ', 0 }};
  put(text);
}}
static void arrive(void *context) {{ (void)context; }}
#define DEEP {deep}
/* Below the caller's frame: paint the stack, or find how deep it was used since. */
static __attribute__((noinline)) int paint(int looks) {{
  volatile char *top = (volatile char *)__builtin_frame_address(0) - 256;
  int at = DEEP;
  if (!looks) {{ while (at > 0) top[-at--] = 0x5A; return 0; }}
  while (at > 0 && top[-at] == 0x5A) at--;
  return at + 256;
}}
static void put_number(int number) {{
  char text[2] = {{ 0, 0 }};
  if (number > 9) put_number(number / 10);
  text[0] = (char)('0' + number % 10);
  put(text);
}}
static void test(void) {{
  const {name}_weights *weights = {name}_weights_builtin(), *opened = 0;
  const void *data = (const void *)((uintptr_t)weights & ~(uintptr_t)63);
  paint(0);
  int status = {name}_run({arguments});
  put_number(paint(1));
  put("\\n");
  put_status(status);
  put_status({name}_run(0, {rest}));
  put_status({name}_run(weights, arena + 8{behind_arena}));
  put_status({name}_run((const {name}_weights *)other, {rest}));
  put_status({name}_weights_open(data, {weights_bytes} - 1, &opened));
  put_status({name}_weights_open(other, 64, &opened));
  put_status({name}_weights_open(0, 64, &opened));
  put_status({name}_weights_open(data, {weights_bytes}, &opened));
  put_status(opened == weights ? 0 : 9);
  put_status({name}_run_part({arguments}, 1, 1, 0, 0));
  put_status({name}_run_part({arguments}, 0, 2, 0, 0));
  put_status({name}_run_part({arguments}, 0, 1, arrive, 0));
  put_status((int)((uintptr_t)weights & 63));
  put("\\n");
  put({name}_strerror(3));
  put("\\n");
  put({name}_strerror(77));
  put("\\n");
{outputs}
}}
"""
STATUSES = "0 1 2 3 4 3 1 0 0 6 6 0"
"""What the program prints where all is well, and behind them the version of the code."""


def c_program(abi: Abi, inputs: Mapping[str, Array], machine: str, deep: int) -> str:
    """The program for inputs by name; it looks as `deep` into the stack as that is in bytes."""
    ends = [end.c_name for end in abi.ends]
    rest = ["arena", *ends]
    body = _BODY.format(
        arena=abi.arena_bytes,
        name=abi.name,
        buffers=buffers(abi, inputs),
        arguments=", ".join(["weights", *rest]),
        rest=", ".join(rest),
        behind_arena="".join(f", {end}" for end in ends),
        weights_bytes=abi.weights_bytes,
        deep=deep,
        outputs="\n".join(f"  put_bytes({o.c_name}, sizeof {o.c_name});" for o in abi.outputs),
    )
    return "\n".join([declarations(abi), "static void test(void);", machine, body])


def probe(abi: Abi) -> str:
    """A program that opens the built-in weights, and runs the network with what it is given.

    It prints the status of opening, whether there are built-in weights and a handle of others, the
    status of a run, and what the first status means.
    """
    name, ends = abi.name, [end.c_name for end in abi.ends]
    arrays = [f"static {end.c_type} {end.c_name}[{prod(end.shape)}];" for end in abi.ends]
    body = f"""
extern const char {name}_weights_data[];
static char arena[{abi.arena_bytes}] __attribute__((aligned(64)));
int main(void) {{
  const {name}_weights *builtin = {name}_weights_builtin(), *opened = 0;
  int status = {name}_weights_open({name}_weights_data, {abi.weights_bytes}, &opened);
  int ran = {name}_run(builtin, arena, {", ".join(ends)});
  printf("%d %d %d %s\\n", status, builtin && opened, ran, {name}_strerror(status));
  return 0;
}}
"""
    return "\n".join([declarations(abi), "#include <stdio.h>", *arrays, body])


def declarations(abi: Abi) -> str:
    """The interface in C."""
    name = abi.name
    return "\n".join(
        [
            "#include <stddef.h>",
            "#include <stdint.h>",
            f"typedef struct {name}_weights {name}_weights;",
            f"typedef void {name}_barrier(void *context);",
            f"const char *{name}_strerror(int status);",
            f"const {name}_weights *{name}_weights_builtin(void);",
            f"int {name}_weights_open(const void *data, size_t bytes, "
            f"const {name}_weights **weights);",
            f"int {name}_run({', '.join(abi.run_parameters)});",
            f"int {name}_run_part({', '.join(abi.part_parameters)});",
        ]
    )


def buffers(abi: Abi, inputs: Mapping[str, Array]) -> str:
    """Arrays named as the inputs, with their values, and as the outputs."""
    return "\n".join(_buffer(end, inputs) for end in abi.ends)


def _buffer(end: Argument, inputs: Mapping[str, Array]) -> str:
    if end.is_output:
        return f"static {end.c_type} {end.c_name}[{prod(end.shape)}];"
    data = np.ascontiguousarray(inputs[end.name]).tobytes()
    words = ", ".join(map(str, np.frombuffer(data.ljust(-(-len(data) // 4) * 4, b"\0"), "<u4")))
    kept = f"{end.c_name}_bits"
    return (
        f"static const uint32_t {kept}[] __attribute__((aligned(8))) = {{ {words} }};\n"
        f"#define {end.c_name} ((const {end.c_type} *)(const void *){kept})"
    )


def read_outputs(abi: Abi, printed: str) -> tuple[str, dict[str, Array]]:
    """The statuses, and outputs by name."""
    statuses, wrong, unknown, *lines = printed.splitlines()
    assert wrong == abi.strerror(Status.WRONG_WEIGHTS)
    assert unknown == UNKNOWN_STATUS
    outputs = {
        end.name: np.frombuffer(bytes.fromhex(line), end.dtype.numpy).reshape(end.shape)
        for end, line in zip(abi.outputs, lines, strict=True)
    }
    return statuses.strip(), outputs
