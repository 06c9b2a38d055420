// The part of the CUDA runtime's C interface that generated programs use, on the CPU.
#pragma once

#include "streams.h"

#include <map>
#include <tuple>

#ifndef CUDART_VERSION
#define CUDART_VERSION 12000
#endif

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInvalidDevicePointer = 17,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorIllegalAddress = 700,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901,
  cudaErrorStreamCaptureIsolation = 905,
  cudaErrorStreamCaptureImplicit = 906,
};
inline const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorInvalidDevicePointer: return "invalid device pointer";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle: return "invalid resource handle";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureIsolation: return "dependency created on uncaptured work in another stream";
    case cudaErrorStreamCaptureImplicit:
      return "operation would make the legacy stream depend on a capturing blocking stream";
  }
  return "unrecognized error code";
}

namespace cnnc_shim CNNC_SHIM_HIDDEN {

struct Allocation {
  size_t bytes;
  int device;
};
inline std::map<unsigned char*, Allocation> allocations;
inline std::map<const void*, int> shared_limits;
inline uint64_t overlapping = 0;  // launches that may start before the one in front of them ends
inline cudaError_t last_error = cudaSuccess;
inline cudaError_t note(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

}  // namespace cnnc_shim

struct CNNC_SHIM_HIDDEN CUstream_st {
  cnnc_shim::Stream queue;
};
struct CNNC_SHIM_HIDDEN CUgraph_st {
  cnnc_shim::Graph graph;
};
struct CNNC_SHIM_HIDDEN CUgraphExec_st {
  std::shared_ptr<cnnc_shim::Graph> graph;
};
struct CNNC_SHIM_HIDDEN CUevent_st {
  int device;
  cnnc_shim::Stream queue;
  uint64_t number;
  bool is_captured;
};
using cudaStream_t = CUstream_st*;
using cudaGraph_t = CUgraph_st*;
using cudaGraphExec_t = CUgraphExec_st*;
using cudaEvent_t = CUevent_st*;

enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};
enum cudaStreamCaptureStatus {
  cudaStreamCaptureStatusNone,
  cudaStreamCaptureStatusActive,
  cudaStreamCaptureStatusInvalidated
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97
};
enum cudaMemoryType {
  cudaMemoryTypeUnregistered,
  cudaMemoryTypeHost,
  cudaMemoryTypeDevice,
  cudaMemoryTypeManaged
};
struct cudaPointerAttributes {
  cudaMemoryType type;
  int device;
  void* devicePointer;
  void* hostPointer;
};
enum { cudaStreamDefault = 0, cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2 };
#define cudaStreamLegacy ((cudaStream_t)0x1)
#define cudaStreamPerThread ((cudaStream_t)0x2)
struct cudaFuncAttributes {
  int binaryVersion, ptxVersion;
};

namespace cnnc_shim CNNC_SHIM_HIDDEN {

using Lock = std::lock_guard<std::recursive_mutex>;

inline Stream queue_of(cudaStream_t stream) {
  static thread_local Stream own;
  if (!stream || stream == cudaStreamLegacy) return default_queue();
  if (stream != cudaStreamPerThread) return stream->queue;
  if (!own) own = open_queue(current_device, true);
  return own;
}

inline cudaError_t enqueue(cudaStream_t stream, Work work) {
  Lock lock(runtime);
  auto queue = queue_of(stream);
  if (queue->device != current_device) return note(cudaErrorInvalidResourceHandle);
  if (blocks_default(queue)) return note(cudaErrorStreamCaptureImplicit);
  if (!queue->captured) {
    give(queue, std::move(work));
  } else if (queue->is_invalid) {
    return note(cudaErrorStreamCaptureInvalidated);
  } else {
    queue->captured->nodes.push_back(std::move(work));
  }
  return cudaSuccess;
}

/// The allocation that an address is in, if any.
inline const Allocation* allocation_of(const void* pointer) {
  auto* address = static_cast<unsigned char*>(const_cast<void*>(pointer));
  auto above = allocations.upper_bound(address);
  if (above == allocations.begin()) return nullptr;
  auto& [start, found] = *std::prev(above);
  return address < start + found.bytes ? &found : nullptr;
}
template <class T>
bool is_elsewhere(const T&) {
  return false;
}
/// Whether a kernel's argument is memory of another device.
template <class T>
bool is_elsewhere(T* pointer) {
  auto* found = allocation_of(pointer);
  return found && found->device != current_device;
}

/// What every GPU from sm_80 on refuses.
inline cudaError_t check_launch(const void* function, dim3 grid, dim3 block, size_t shared) {
  uint64_t size = uint64_t{block.x} * block.y * block.z;
  bool sized = size >= 1 && size <= 1024 && block.z <= 64 && grid.x && grid.y && grid.z;
  if (!sized || grid.x > 0x7FFFFFFF || grid.y > 65535 || grid.z > 65535) {
    return cudaErrorInvalidConfiguration;
  }
  // What a kernel declares itself counts towards the 48 KiB, too; how much that is, nobody says here.
  constexpr size_t WITHOUT_ASKING = 47 * 1024;
  auto limit = shared_limits.find(function);
  size_t allowed = limit == shared_limits.end() ? WITHOUT_ASKING : limit->second;
  return shared > allowed ? cudaErrorInvalidValue : cudaSuccess;
}

template <class Function, class Tuple>
void call_with(const void* packed) {
  auto& call = *static_cast<const std::pair<Function, Tuple>*>(packed);
  std::apply(call.first, call.second);
}

template <class... P, size_t... I>
std::tuple<P...> read_arguments(void** arguments, std::index_sequence<I...>) {
  return std::tuple<P...>(*static_cast<std::remove_const_t<P>*>(arguments[I])...);
}

}  // namespace cnnc_shim

template <class... P>
cudaError_t cudaLaunchKernel(void (*function)(P...), dim3 grid, dim3 block, void** arguments,
                             size_t shared = 0, cudaStream_t stream = nullptr) {
  using namespace cnnc_shim;
  auto refused = check_launch(reinterpret_cast<const void*>(function), grid, block, shared);
  if (refused != cudaSuccess) return note(refused);
  using Call = std::pair<void (*)(P...), std::tuple<P...>>;
  Lock lock(runtime);
  Call call{function, read_arguments<P...>(arguments, std::index_sequence_for<P...>())};
  bool elsewhere = std::apply([](auto&... each) { return (false || ... || is_elsewhere(each)); },
                              call.second);
  if (elsewhere) return note(cudaErrorIllegalAddress);
  return enqueue(stream, [=] {
    run_grid(grid, block, shared, call_with<void (*)(P...), std::tuple<P...>>, &call);
  });
}

enum cudaLaunchAttributeID { cudaLaunchAttributeProgrammaticStreamSerialization = 6 };
union cudaLaunchAttributeValue {
  int programmaticStreamSerializationAllowed;
};
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  cudaLaunchAttributeValue val;
};
struct CNNC_SHIM_HIDDEN cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute* attrs;
  unsigned numAttrs;
};
inline cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* made, const void*) {
  // CNNC_SHIM_PTX says for which architecture code was written that the GPU, an sm_90, runs.
  const char* asked = getenv("CNNC_SHIM_PTX");
  *made = {90, asked ? atoi(asked) : 90};
  return cudaSuccess;
}
// The real one takes an untyped pointer: call it through cnnc::launch of the primitives.
template <class... P>
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, void (*function)(P...),
                                void** arguments) {
  if (config->numAttrs && config->attrs->val.programmaticStreamSerializationAllowed) {
    cudaFuncAttributes code;
    cudaFuncGetAttributes(&code, nullptr);
    if (code.ptxVersion < 90) cnnc_shim::fail("a kernel may start early, and its code cannot wait");
    ++cnnc_shim::overlapping;
  }
  return cudaLaunchKernel(function, config->gridDim, config->blockDim, arguments,
                          config->dynamicSmemBytes, config->stream);
}

template <class F>
cudaError_t cudaFuncSetAttribute(F* function, cudaFuncAttribute, int value) {
  if (value > 227 * 1024) return cnnc_shim::note(cudaErrorInvalidValue);
  cnnc_shim::shared_limits[reinterpret_cast<const void*>(function)] = value;
  return cudaSuccess;
}

template <class T>
cudaError_t cudaMalloc(T** made, size_t bytes) {
  cnnc_shim::Lock lock(cnnc_shim::runtime);
  *made = nullptr;
  if (cnnc_shim::is_forbidden()) return cnnc_shim::note(cudaErrorStreamCaptureUnsupported);
  if (!bytes) return cudaSuccess;
  // CNNC_SHIM_MEMORY is how many bytes there are in all.
  const char* limit = getenv("CNNC_SHIM_MEMORY");
  size_t used = bytes;
  for (auto& [start, each] : cnnc_shim::allocations) used += each.bytes;
  if (limit && used > strtoull(limit, nullptr, 10)) {
    return cnnc_shim::note(cudaErrorMemoryAllocation);
  }
  auto* memory = cnnc_shim::guarded(bytes);
  if (!memory) return cnnc_shim::note(cudaErrorMemoryAllocation);
  *made = reinterpret_cast<T*>(memory);
  cnnc_shim::allocations[memory] = {bytes, cnnc_shim::current_device};
  return cudaSuccess;
}
inline cudaError_t cudaFree(void* memory) {
  cnnc_shim::Lock lock(cnnc_shim::runtime);
  if (!memory) return cudaSuccess;
  if (cnnc_shim::is_forbidden()) return cnnc_shim::note(cudaErrorStreamCaptureUnsupported);
  auto found = cnnc_shim::allocations.find(static_cast<unsigned char*>(memory));
  if (found == cnnc_shim::allocations.end()) {
    return cnnc_shim::note(cudaErrorInvalidDevicePointer);
  }
  cnnc_shim::finish_all();
  cnnc_shim::release(found->first, found->second.bytes);
  cnnc_shim::allocations.erase(found);
  return cudaSuccess;
}
template <class T>
cudaError_t cudaMallocHost(T** made, size_t bytes) {
  return cudaMalloc(made, bytes);
}
inline cudaError_t cudaFreeHost(void* memory) { return cudaFree(memory); }

inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                                   cudaStream_t stream = nullptr) {
  cnnc_shim::Lock lock(cnnc_shim::runtime);
  if (kind != cudaMemcpyHostToDevice || cnnc_shim::queue_of(stream)->captured) {
    return cnnc_shim::enqueue(stream, [=] { memmove(to, from, bytes); });
  }
  // what lies in pages is copied aside before the call returns
  auto* start = static_cast<const unsigned char*>(from);
  auto aside = std::make_shared<std::vector<unsigned char>>(start, start + bytes);
  return cnnc_shim::enqueue(stream, [=] { memcpy(to, aside->data(), bytes); });
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  cnnc_shim::Lock lock(cnnc_shim::runtime);
  auto queue = cnnc_shim::queue_of(stream);
  if (cnnc_shim::blocks_default(queue)) return cnnc_shim::note(cudaErrorStreamCaptureImplicit);
  if (queue->captured) queue->is_invalid = true;
  if (queue->captured || cnnc_shim::is_forbidden()) {
    return cnnc_shim::note(cudaErrorStreamCaptureUnsupported);
  }
  if (queue->is_default) cnnc_shim::give(queue, [] {});
  cnnc_shim::finish(queue);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  if (cnnc_shim::is_forbidden()) return cnnc_shim::note(cudaErrorStreamCaptureUnsupported);
  auto error = cudaMemcpyAsync(to, from, bytes, kind);
  bool waits = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDefault;
  return error == cudaSuccess && waits ? cudaStreamSynchronize(nullptr) : error;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes,
                                   cudaStream_t stream = nullptr) {
  return cnnc_shim::enqueue(stream, [=] { memset(to, value, bytes); });
}
inline cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  if (cnnc_shim::is_forbidden()) return cnnc_shim::note(cudaErrorStreamCaptureUnsupported);
  return cudaMemsetAsync(to, value, bytes);
}
inline cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* made, const void* pointer) {
  cnnc_shim::Lock lock(cnnc_shim::runtime);
  auto* address = const_cast<void*>(pointer);
  auto* found = cnnc_shim::allocation_of(pointer);
  *made = {found ? cudaMemoryTypeDevice : cudaMemoryTypeUnregistered, found ? found->device : -2,
           found ? address : nullptr, address};
  return cudaSuccess;
}

inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* made, unsigned flags) {
  cnnc_shim::Lock lock(cnnc_shim::runtime);
  bool is_blocking = !(flags & cudaStreamNonBlocking);
  *made = new CUstream_st{cnnc_shim::open_queue(cnnc_shim::current_device, is_blocking)};
  return cudaSuccess;
}
inline cudaError_t cudaStreamCreate(cudaStream_t* made) {
  return cudaStreamCreateWithFlags(made, 0);
}
/// Its work is still done.
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  cnnc_shim::Lock lock(cnnc_shim::runtime);
  delete stream;
  cnnc_shim::forget_drained();
  return cudaSuccess;
}
inline cudaError_t cudaDeviceSynchronize() {
  cnnc_shim::Lock lock(cnnc_shim::runtime);
  if (cnnc_shim::is_forbidden()) return cnnc_shim::note(cudaErrorStreamCaptureUnsupported);
  cnnc_shim::finish_all();
  return cudaSuccess;
}

inline cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  cnnc_shim::Lock lock(cnnc_shim::runtime);
  auto queue = cnnc_shim::queue_of(stream);
  if (queue->is_default) return cnnc_shim::note(cudaErrorStreamCaptureUnsupported);
  if (queue->captured) return cnnc_shim::note(cudaErrorInvalidValue);
  queue->captured = std::make_unique<cnnc_shim::Graph>();
  queue->mode = mode, queue->thread = std::this_thread::get_id(), queue->is_invalid = false;
  return cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* made) {
  cnnc_shim::Lock lock(cnnc_shim::runtime);
  auto queue = cnnc_shim::queue_of(stream);
  *made = nullptr;
  if (!queue->captured) return cnnc_shim::note(cudaErrorInvalidValue);
  auto found = std::exchange(queue->captured, nullptr);
  if (queue->is_invalid) return cnnc_shim::note(cudaErrorStreamCaptureInvalidated);
  *made = new CUgraph_st{std::move(*found)};
  return cudaSuccess;
}
inline cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* made) {
  cnnc_shim::Lock lock(cnnc_shim::runtime);
  auto queue = cnnc_shim::queue_of(stream);
  if (cnnc_shim::blocks_default(queue)) return cnnc_shim::note(cudaErrorStreamCaptureImplicit);
  auto active = queue->is_invalid ? cudaStreamCaptureStatusInvalidated : cudaStreamCaptureStatusActive;
  *made = queue->captured ? active : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
inline cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, cnnc_shim::thread_mode);
  return cudaSuccess;
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* made, cudaGraph_t graph,
                                        unsigned long long = 0) {
  *made = new CUgraphExec_st{std::make_shared<cnnc_shim::Graph>(graph->graph)};
  return cudaSuccess;
}
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  cnnc_shim::Lock lock(cnnc_shim::runtime);
  auto queue = cnnc_shim::queue_of(stream);
  if (queue->captured) {
    queue->is_invalid = true;
    return cnnc_shim::note(cudaErrorStreamCaptureUnsupported);
  }
  return cnnc_shim::enqueue(stream, [graph = executable->graph] {
    for (auto& node : graph->nodes) node();
  });
}
inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}

inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* made, unsigned) {
  *made = new CUevent_st{cnnc_shim::current_device, nullptr, 0, false};
  return cudaSuccess;
}
inline cudaError_t cudaEventCreate(cudaEvent_t* made) { return cudaEventCreateWithFlags(made, 0); }
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream = nullptr) {
  cnnc_shim::Lock lock(cnnc_shim::runtime);
  auto queue = cnnc_shim::queue_of(stream);
  if (event->device != queue->device) return cnnc_shim::note(cudaErrorInvalidResourceHandle);
  event->is_captured = bool(queue->captured);
  if (!event->is_captured) {
    auto error = cnnc_shim::enqueue(stream, [] {});
    if (error != cudaSuccess) return error;
  }
  event->queue = queue, event->number = queue->given;
  return cudaSuccess;
}
inline cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned = 0) {
  cnnc_shim::Lock lock(cnnc_shim::runtime);
  auto queue = cnnc_shim::queue_of(stream);
  if (!event->queue) return cudaSuccess;
  if (event->is_captured != bool(queue->captured)) {
    queue->is_invalid = true;
    return cnnc_shim::note(cudaErrorStreamCaptureIsolation);
  }
  if (!event->is_captured) cnnc_shim::wait_for(queue, event->queue, event->number);
  return cudaSuccess;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  cnnc_shim::Lock lock(cnnc_shim::runtime);
  if (cnnc_shim::is_forbidden()) return cnnc_shim::note(cudaErrorStreamCaptureUnsupported);
  if (event->queue) cnnc_shim::run_until(event->queue, event->number);
  return cudaSuccess;
}
inline cudaError_t cudaEventElapsedTime(float* made, cudaEvent_t, cudaEvent_t) {
  *made = 0;
  return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

inline cudaError_t cudaGetLastError() {
  return std::exchange(cnnc_shim::last_error, cudaSuccess);
}
inline cudaError_t cudaPeekAtLastError() { return cnnc_shim::last_error; }
inline cudaError_t cudaGetDeviceCount(int* made) {
  *made = cnnc_shim::DEVICES;
  return cudaSuccess;
}
inline cudaError_t cudaGetDevice(int* made) {
  *made = cnnc_shim::current_device;
  return cudaSuccess;
}
inline cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= cnnc_shim::DEVICES) return cnnc_shim::note(cudaErrorInvalidDevice);
  cnnc_shim::current_device = device;
  return cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int* made, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *made = 132; break;
    case cudaDevAttrComputeCapabilityMajor: *made = 9; break;
    case cudaDevAttrComputeCapabilityMinor: *made = 0; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *made = 227 * 1024; break;
  }
  return cudaSuccess;
}
