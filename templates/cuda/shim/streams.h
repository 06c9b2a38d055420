// Streams, events and graphs of the stand-in: what work waits for, and when it is done.
//
// CNNC_SHIM_STREAMS says when:
//   prompt (default)  as soon as it is given to a stream
//   late              when somebody waits for it, as late as a GPU may: whatever nothing orders comes
//                     in the wrong order. The default stream waits for streams that are not
//                     "non-blocking", and these for it, and no others do.
//   together          as late, and then a piece of each stream in turn
#pragma once

#include "fibres.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <thread>

enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal,
  cudaStreamCaptureModeThreadLocal,
  cudaStreamCaptureModeRelaxed
};

namespace cnnc_shim CNNC_SHIM_HIDDEN {

using Work = std::function<void()>;
struct Graph {
  std::vector<Work> nodes;
};

/// What was given to a stream and is not done yet.
struct Queue {
  int device = 0;
  bool is_blocking = true, is_default = false;
  std::deque<Work> waiting;
  uint64_t given = 0, done = 0;
  std::unique_ptr<Graph> captured;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id thread;
  bool is_invalid = false, is_busy = false;
};
using Stream = std::shared_ptr<Queue>;

constexpr int DEVICES = 2;
inline thread_local int current_device = 0;
inline thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;
inline std::recursive_mutex runtime;
inline std::vector<Stream> queues;  // also those of streams that were destroyed with work left

inline Stream open_queue(int device, bool is_blocking, bool is_default = false) {
  auto made = std::make_shared<Queue>();
  made->device = device, made->is_blocking = is_blocking, made->is_default = is_default;
  queues.push_back(made);
  return made;
}

/// The default stream of the current device.
inline Stream default_queue() {
  for (auto& each : queues) {
    if (each->is_default && each->device == current_device) return each;
  }
  return open_queue(current_device, true, true);
}

/// Whether CNNC_SHIM_STREAMS asks for this.
inline bool is_asked(const char* mode) {
  const char* asked = getenv("CNNC_SHIM_STREAMS");
  if (!asked) asked = "prompt";
  if (strcmp(asked, "prompt") && strcmp(asked, "late") && strcmp(asked, "together")) {
    fail("CNNC_SHIM_STREAMS is prompt, late or together");
  }
  return !strcmp(asked, mode);
}

inline void run_next(const Stream& queue) {
  Work work = std::move(queue->waiting.front());
  queue->waiting.pop_front();
  queue->is_busy = true;
  work();
  queue->is_busy = false;
  ++queue->done;
}

inline void run_until(const Stream& queue, uint64_t number) {
  static int depth = 0;
  ++depth;
  while (queue->done < number && !queue->waiting.empty()) {
    run_next(queue);
    if (depth > 1 || !is_asked("together")) continue;
    auto others = queues;
    for (auto& each : others) {
      if (each != queue && !each->is_busy && !each->waiting.empty()) run_next(each);
    }
  }
  --depth;
}
inline void finish(const Stream& queue) { run_until(queue, queue->given); }
inline void finish_all() {
  auto all = queues;
  for (auto& each : all) finish(each);
}

inline void put(const Stream& queue, Work work) {
  queue->waiting.push_back(std::move(work));
  ++queue->given;
}
inline void wait_for(const Stream& queue, const Stream& other, uint64_t number) {
  if (other != queue && other->done < number) put(queue, [=] { run_until(other, number); });
}

/// Work on a stream that is not being captured.
inline void give(const Stream& queue, Work work) {
  for (auto& each : queues) {
    bool is_ordered = queue->is_default ? each->is_blocking : queue->is_blocking && each->is_default;
    if (is_ordered && each->device == queue->device) wait_for(queue, each, each->given);
  }
  put(queue, std::move(work));
  if (is_asked("prompt")) finish(queue);
}

/// Whether a capture forbids what would wait for the GPU, or change its memory. It then fails.
inline bool is_forbidden() {
  bool found = false;
  for (auto& each : queues) {
    if (!each->captured || thread_mode == cudaStreamCaptureModeRelaxed) continue;
    bool ours = each->thread == std::this_thread::get_id();
    bool global = each->mode == cudaStreamCaptureModeGlobal;
    if (ours ? each->mode != cudaStreamCaptureModeRelaxed
             : global && thread_mode == cudaStreamCaptureModeGlobal) {
      each->is_invalid = found = true;
    }
  }
  return found;
}

/// Whether a stream is captured that the default one would wait for.
inline bool blocks_default(const Stream& queue) {
  bool found = false;
  for (auto& each : queues) {
    if (queue->is_default && each->is_blocking && each->captured) found = each->is_invalid = true;
  }
  return found;
}

/// Streams that are destroyed, once nothing is left to be done.
inline void forget_drained() {
  auto drained = [](const Stream& each) { return each.use_count() == 1 && each->waiting.empty(); };
  queues.erase(std::remove_if(queues.begin(), queues.end(), drained), queues.end());
}

}  // namespace cnnc_shim
