// The part of the CUDA runtime's C interface that generated programs use, on the CPU.
#pragma once

#include "fibres.h"

#include <functional>
#include <map>
#include <memory>
#include <tuple>

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInvalidDevicePointer = 17,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorStreamCaptureInvalidated = 901,
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
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
  }
  return "unrecognized error code";
}

namespace cnnc_shim CNNC_SHIM_HIDDEN {

using Work = std::function<void()>;
struct Graph {
  std::vector<Work> nodes;
};
inline std::map<unsigned char*, size_t> allocations;
inline std::map<const void*, int> shared_limits;
inline cudaError_t last_error = cudaSuccess;
inline cudaError_t note(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

}  // namespace cnnc_shim

struct CNNC_SHIM_HIDDEN CUstream_st {
  std::unique_ptr<cnnc_shim::Graph> captured;
};
struct CNNC_SHIM_HIDDEN CUgraph_st {
  cnnc_shim::Graph graph;
};
struct CNNC_SHIM_HIDDEN CUgraphExec_st {
  cnnc_shim::Graph graph;
};
struct CUevent_st {};
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
enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal,
  cudaStreamCaptureModeThreadLocal,
  cudaStreamCaptureModeRelaxed
};
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone, cudaStreamCaptureStatusActive };
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

namespace cnnc_shim CNNC_SHIM_HIDDEN {

inline cudaError_t enqueue(cudaStream_t stream, Work work) {
  if (stream && stream->captured) {
    stream->captured->nodes.push_back(std::move(work));
  } else {
    work();
  }
  return cudaSuccess;
}

/// What every GPU from sm_80 on refuses.
inline cudaError_t check_launch(const void* function, dim3 grid, dim3 block, size_t shared) {
  uint64_t size = uint64_t{block.x} * block.y * block.z;
  bool sized = size >= 1 && size <= 1024 && block.z <= 64 && grid.x && grid.y && grid.z;
  if (!sized || grid.x > 0x7FFFFFFF || grid.y > 65535 || grid.z > 65535) {
    return cudaErrorInvalidConfiguration;
  }
  auto limit = shared_limits.find(function);
  size_t allowed = limit == shared_limits.end() ? 48 * 1024 : limit->second;
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
  Call call{function, read_arguments<P...>(arguments, std::index_sequence_for<P...>())};
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
// The real one takes an untyped pointer: call it through cnnc::launch of the primitives.
template <class... P>
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, void (*function)(P...),
                                void** arguments) {
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
  auto* memory = bytes ? cnnc_shim::guarded(bytes) : nullptr;
  *made = reinterpret_cast<T*>(memory);
  if (!bytes) return cudaSuccess;
  if (!memory) return cnnc_shim::note(cudaErrorMemoryAllocation);
  cnnc_shim::allocations[memory] = bytes;
  return cudaSuccess;
}
inline cudaError_t cudaFree(void* memory) {
  if (!memory) return cudaSuccess;
  auto found = cnnc_shim::allocations.find(static_cast<unsigned char*>(memory));
  if (found == cnnc_shim::allocations.end()) {
    return cnnc_shim::note(cudaErrorInvalidDevicePointer);
  }
  cnnc_shim::release(found->first, found->second);
  cnnc_shim::allocations.erase(found);
  return cudaSuccess;
}
template <class T>
cudaError_t cudaMallocHost(T** made, size_t bytes) {
  return cudaMalloc(made, bytes);
}
inline cudaError_t cudaFreeHost(void* memory) { return cudaFree(memory); }

inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                                   cudaStream_t stream = nullptr) {
  return cnnc_shim::enqueue(stream, [=] { memmove(to, from, bytes); });
}
inline cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return cudaMemcpyAsync(to, from, bytes, kind);
}
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes,
                                   cudaStream_t stream = nullptr) {
  return cnnc_shim::enqueue(stream, [=] { memset(to, value, bytes); });
}
inline cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  return cudaMemsetAsync(to, value, bytes);
}
inline cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* made, const void* pointer) {
  auto* address = static_cast<unsigned char*>(const_cast<void*>(pointer));
  auto above = cnnc_shim::allocations.upper_bound(address);
  bool ours = false;
  if (above != cnnc_shim::allocations.begin()) {
    auto [start, bytes] = *std::prev(above);
    ours = address < start + bytes;
  }
  *made = {ours ? cudaMemoryTypeDevice : cudaMemoryTypeUnregistered, 0, ours ? address : nullptr,
           address};
  return cudaSuccess;
}

inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* made, unsigned) {
  *made = new CUstream_st;
  return cudaSuccess;
}
inline cudaError_t cudaStreamCreate(cudaStream_t* made) {
  return cudaStreamCreateWithFlags(made, 0);
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }

inline cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (!stream || stream->captured) return cnnc_shim::note(cudaErrorInvalidValue);
  stream->captured = std::make_unique<cnnc_shim::Graph>();
  return cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* made) {
  if (!stream || !stream->captured) return cnnc_shim::note(cudaErrorInvalidValue);
  *made = new CUgraph_st{std::move(*stream->captured)};
  stream->captured.reset();
  return cudaSuccess;
}
inline cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* made) {
  bool capturing = stream && stream->captured;
  *made = capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* made, cudaGraph_t graph,
                                        unsigned long long = 0) {
  *made = new CUgraphExec_st{graph->graph};
  return cudaSuccess;
}
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  return cnnc_shim::enqueue(stream, [executable] {
    for (auto& node : executable->graph.nodes) node();
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

inline cudaError_t cudaGetLastError() {
  return std::exchange(cnnc_shim::last_error, cudaSuccess);
}
inline cudaError_t cudaPeekAtLastError() { return cnnc_shim::last_error; }
inline cudaError_t cudaGetDeviceCount(int* made) {
  *made = 1;
  return cudaSuccess;
}
inline cudaError_t cudaGetDevice(int* made) {
  *made = 0;
  return cudaSuccess;
}
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline cudaError_t cudaDeviceGetAttribute(int* made, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *made = 132; break;
    case cudaDevAttrComputeCapabilityMajor: *made = 9; break;
    case cudaDevAttrComputeCapabilityMinor: *made = 0; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *made = 227 * 1024; break;
  }
  return cudaSuccess;
}
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* made, unsigned) {
  *made = new CUevent_st;
  return cudaSuccess;
}
inline cudaError_t cudaEventCreate(cudaEvent_t* made) { return cudaEventCreateWithFlags(made, 0); }
inline cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t = nullptr) { return cudaSuccess; }
inline cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaEventElapsedTime(float* made, cudaEvent_t, cudaEvent_t) {
  *made = 0;
  return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
