// Threads of a block as fibres of one thread of the CPU, which take turns at barriers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

#if !defined(__x86_64__) || defined(CNNC_SHIM_UCONTEXT)
#include <ucontext.h>
#define CNNC_SHIM_SWITCHES_BY_UCONTEXT
#endif

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct uint3 {
  unsigned x, y, z;
};

// Hidden here and below: libraries loaded into one process each have their own.
#define CNNC_SHIM_HIDDEN __attribute__((visibility("hidden")))

inline CNNC_SHIM_HIDDEN uint3 threadIdx{}, blockIdx{};
inline CNNC_SHIM_HIDDEN dim3 blockDim, gridDim;

namespace cnnc_shim CNNC_SHIM_HIDDEN {

constexpr size_t STACK_BYTES = 128 * 1024;
constexpr unsigned WARP = 32;

[[noreturn]] inline void fail(const char* what);

#ifdef CNNC_SHIM_SWITCHES_BY_UCONTEXT

struct Context {
  ucontext_t state;
};
inline void switch_context(Context& from, Context& to) { swapcontext(&from.state, &to.state); }
inline void start_context(Context& context, unsigned char* stack, void (*run)()) {
  getcontext(&context.state);
  context.state.uc_stack.ss_sp = stack;
  context.state.uc_stack.ss_size = STACK_BYTES;
  context.state.uc_link = nullptr;
  makecontext(&context.state, run, 0);
}

#else

struct Context {
  void* stack_pointer;
};
// Registers a called function must keep, and the stack pointer.
extern "C" CNNC_SHIM_HIDDEN void cnnc_shim_switch(void** from, void* to);
__asm__(
    ".text\n"
    ".weak cnnc_shim_switch\n"
    ".hidden cnnc_shim_switch\n"
    ".type cnnc_shim_switch,@function\n"
    "cnnc_shim_switch:\n"
    "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
    "  movq %rsp,(%rdi)\n"
    "  movq %rsi,%rsp\n"
    "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
    "  ret\n"
    ".size cnnc_shim_switch,.-cnnc_shim_switch\n");
inline void switch_context(Context& from, Context& to) {
  cnnc_shim_switch(&from.stack_pointer, to.stack_pointer);
}
inline void start_context(Context& context, unsigned char* stack, void (*run)()) {
  auto** top = reinterpret_cast<void**>(stack + STACK_BYTES);
  *--top = nullptr;  // keeps the stack aligned as after a call
  *--top = reinterpret_cast<void*>(run);
  for (int saved = 0; saved < 6; ++saved) *--top = nullptr;
  context.stack_pointer = top;
}

#endif

/// A copy from global to shared memory that is still under way: see cp_async in the primitives.
struct Copy {
  void* to;
  const void* from;
  unsigned bytes, valid;
};

enum class State { READY, AT_BARRIER, IN_WARP, DONE };

struct Fibre {
  Context context{};
  unsigned char* stack = nullptr;
  State state = State::DONE;
  uint3 thread{};
  unsigned linear = 0;
  std::vector<std::vector<Copy>> groups;  // of copies, oldest first
  std::vector<Copy> open;                 // copies of no group yet
};

using Combine = void (*)(void* const* lanes, unsigned count);

struct Warp {
  unsigned lanes = 0, arrived = 0;
  Combine combine = nullptr;
  void* arguments[WARP] = {};
};

/// A block, and what it has in shared memory while another one runs.
struct Block {
  std::vector<Fibre> fibres;
  std::vector<Warp> warps;
  std::vector<unsigned> order;
  unsigned threads = 0, live = 0, at_barrier = 0, counts = 0;
  int barrier_line = 0;
  uint3 index{};
  unsigned char* dynamic = nullptr;
  std::vector<unsigned char> statics;
};

inline Fibre* current = nullptr;
inline unsigned char* dynamic_shared = nullptr;
inline uint64_t bank_conflicts = 0;  // of all launches so far

inline Block blocks[2];
inline Block *running = blocks, *held = nullptr;
inline bool has_held = false;
inline unsigned held_at = 1;
inline Context scheduler;
inline void (*kernel)(const void*) = nullptr;
inline const void* kernel_arguments = nullptr;

[[noreturn]] inline void fail(const char* what) {
  fprintf(stderr, "cuda shim: %s, block (%u, %u, %u)", what, blockIdx.x, blockIdx.y, blockIdx.z);
  if (current) {
    fprintf(stderr, ", thread (%u, %u, %u)", threadIdx.x, threadIdx.y, threadIdx.z);
  }
  fprintf(stderr, "\n");
  abort();
}

inline unsigned lane() { return current->linear % WARP; }

inline void pause() { switch_context(current->context, scheduler); }

inline void wake(State state, unsigned first, unsigned end) {
  for (unsigned i = first; i < end; ++i) {
    Fibre& fibre = running->fibres[i];
    if (fibre.state == state) fibre.state = State::READY;
  }
}

/// The first block that counts itself stops there until all others are through: what its other
/// threads have not written yet, nobody may read. In shuffled orders, the first that does it again.
inline void let_others_pass() {
  if (++running->counts != held_at || has_held) return;
  has_held = true;
  held = running;
  pause();
}

inline void open_barrier_if_complete() {
  if (running->live == 0 || running->at_barrier < running->live) return;
  running->at_barrier = 0;
  wake(State::AT_BARRIER, 0, running->threads);
}

/// __syncthreads: whoever has ended is not waited for, as on a GPU.
inline void sync_block(int line) {
  bool is_other = running->at_barrier && line != running->barrier_line;
  if (is_other) fail("threads wait at different barriers");
  running->barrier_line = line;
  ++running->at_barrier;
  current->state = State::AT_BARRIER;
  open_barrier_if_complete();
  if (current->state != State::READY) pause();
}

/// One instruction of a warp: the last lane that comes calls `combine` on what all lanes brought.
inline void warp_collective(void* argument, Combine combine) {
  Warp& warp = running->warps[current->linear / WARP];
  if (warp.arrived && warp.combine != combine) fail("lanes of a warp are at different instructions");
  warp.combine = combine;
  warp.arguments[lane()] = argument;
  current->state = State::IN_WARP;
  if (++warp.arrived < warp.lanes) {
    pause();
    return;
  }
  combine(warp.arguments, warp.lanes);
  warp.arrived = 0;
  unsigned first = current->linear / WARP * WARP;
  wake(State::IN_WARP, first, first + warp.lanes);
}

inline void run_fibre() {
  kernel(kernel_arguments);
  current->state = State::DONE;
  --running->live;
  open_barrier_if_complete();
  pause();
  __builtin_unreachable();
}

inline std::string asked_order() {
  const char* asked = getenv("CNNC_SHIM_ORDER");
  return asked ? asked : "forward";
}

/// The numbers below `count` in the order that CNNC_SHIM_ORDER asks for.
inline std::vector<unsigned> turns(unsigned count, uint64_t salt) {
  std::string order = asked_order();
  std::vector<unsigned> made(count);
  for (unsigned i = 0; i < count; ++i) made[i] = order == "reverse" ? count - 1 - i : i;
  if (order.rfind("shuffled", 0) == 0) {
    uint64_t state = 88172645463325252ull + salt;
    if (order.size() > 9) state += 7919ull * strtoull(order.c_str() + 9, nullptr, 10);
    for (unsigned i = count; i > 1; --i) {
      state ^= state << 13, state ^= state >> 7, state ^= state << 17;
      std::swap(made[i - 1], made[state % i]);
    }
  } else if (order != "forward" && order != "reverse") {
    fail("CNNC_SHIM_ORDER is forward, reverse, or shuffled[:seed]");
  }
  return made;
}

/// Memory whose end is where a page begins that may not be touched, filled with NaN.
inline unsigned char* guarded(size_t bytes, size_t alignment = 16) {
  size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  size_t used = (bytes + alignment - 1) / alignment * alignment;
  size_t body = (used + page - 1) / page * page + page;
  void* memory = mmap(nullptr, body + page, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  auto* start = static_cast<unsigned char*>(memory);
  mprotect(start, page, PROT_NONE);
  mprotect(start + body, page, PROT_NONE);
  memset(start + page, 0xFF, body - page);
  return start + body - used;
}

inline void release(unsigned char* memory, size_t bytes, size_t alignment = 16) {
  size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  size_t used = (bytes + alignment - 1) / alignment * alignment;
  size_t body = (used + page - 1) / page * page + page;
  munmap(memory + used - body, body + page);
}

extern "C" {
extern unsigned char __start_cnnc_shared[] __attribute__((weak, visibility("hidden")));
extern unsigned char __stop_cnnc_shared[] __attribute__((weak, visibility("hidden")));
}

inline void prepare_fibres(Block& made, dim3 block) {
  made.threads = block.x * block.y * block.z;
  while (made.fibres.size() < made.threads) {
    made.fibres.emplace_back();
    void* stack = mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED) fail("no memory for stacks");
    mprotect(stack, 4096, PROT_NONE);
    made.fibres.back().stack = static_cast<unsigned char*>(stack);
  }
  made.warps.assign((made.threads + WARP - 1) / WARP, Warp());
  for (unsigned i = 0; i < made.threads; ++i) {
    Fibre& fibre = made.fibres[i];
    fibre.state = State::READY;
    fibre.linear = i;
    fibre.thread = {i % block.x, i / block.x % block.y, i / (block.x * block.y)};
    fibre.groups.clear();
    fibre.open.clear();
    start_context(fibre.context, fibre.stack, run_fibre);
    ++made.warps[i / WARP].lanes;
  }
  made.live = made.threads;
  made.at_barrier = made.counts = 0;
}

/// Until all its threads are done, or it is held.
inline void run_block(Block& block) {
  running = &block;
  blockIdx = block.index;
  dynamic_shared = block.dynamic;
  while (block.live) {
    bool moved = false;
    for (unsigned number : block.order) {
      if (block.fibres[number].state != State::READY) continue;
      moved = true;
      current = &block.fibres[number];
      threadIdx = current->thread;
      switch_context(scheduler, current->context);
      if (held == &block) {
        current = nullptr;
        return;
      }
    }
    current = nullptr;
    if (!moved) fail("threads wait for others that do not come");
  }
}

/// Runs `entry(arguments)` once for each thread of each block.
inline void run_grid(dim3 grid, dim3 block, size_t shared, void (*entry)(const void*),
                     const void* arguments) {
  static std::mutex one_at_a_time;
  std::lock_guard<std::mutex> lock(one_at_a_time);
  kernel = entry, kernel_arguments = arguments;
  gridDim = grid, blockDim = block;
  unsigned count = grid.x * grid.y * grid.z;
  auto* statics = __start_cnnc_shared;
  size_t static_bytes = statics ? static_cast<size_t>(__stop_cnnc_shared - statics) : 0;
  has_held = false;
  held_at = asked_order().rfind("shuffled", 0) == 0 ? 2 : 1;
  blocks[0].dynamic = guarded(shared, 128);
  blocks[1].dynamic = nullptr;
  for (unsigned number : turns(count, 1)) {
    Block& made = blocks[held != nullptr];
    if (!made.dynamic) made.dynamic = guarded(shared, 128);
    made.index = {number % grid.x, number / grid.x % grid.y, number / (grid.x * grid.y)};
    memset(made.dynamic, 0xFF, shared);
    if (static_bytes) memset(statics, 0xFF, static_bytes);
    prepare_fibres(made, block);
    made.order = turns(made.threads, 2 + number);
    run_block(made);
    if (held == &made) made.statics.assign(statics, statics + static_bytes);
  }
  if (Block* last = held) {
    held = nullptr;
    if (static_bytes) memcpy(statics, last->statics.data(), static_bytes);
    run_block(*last);
  }
  for (Block& each : blocks) {
    if (each.dynamic) release(each.dynamic, shared, 128);
  }
}

}  // namespace cnnc_shim
