// Stands in for <cuda_runtime.h> under a plain C++ compiler: kernels run on the CPU, unchanged.
//
// Put this folder first on the include path. What runs here is deterministic. Environment:
//   CNNC_SHIM_ORDER  forward (default), reverse, or shuffled[:seed]: in which order the threads of a
//                    block and the blocks of a grid take turns. Results must not depend on it.
//   CNNC_SHIM_STREAMS when streams do their work, see streams.h.
//   CNNC_SHIM_PTX     for which architecture the code is that the GPU, an sm_90, runs: 90 by default.
//   CNNC_SHIM_MEMORY  how many bytes of memory there are in all.
// It finds: barriers and warp instructions that not all threads reach, reads of shared memory nobody
// wrote (NaN), asynchronous copies nobody waited for (NaN), steps beyond an allocation or beyond
// dynamic shared memory (a guard page), launches a GPU would refuse, calls that the capture of a stream
// forbids, pointers and streams of another device (there are two). Bank conflicts of ldmatrix, which
// are only slow, are counted in cnnc_shim::bank_conflicts.
#pragma once

#ifdef __CUDACC__
#error "this header is for compilers without CUDA"
#endif

#include "fibres.h"
#include "runtime_api.h"

#include <cmath>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __grid_constant__
#define __constant__
#define __align__(bytes) __attribute__((aligned(bytes)))
// In a section of its own, so that each block starts with NaN in it.
#define __shared__ static __attribute__((section("cnnc_shared")))

constexpr int warpSize = 32;

// clang-format off
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
// clang-format on

inline void __syncthreads(int line = __builtin_LINE()) { cnnc_shim::sync_block(line); }
inline void __threadfence() {}
inline void __threadfence_block() {}

namespace cnnc_shim {

inline void nothing(void* const*, unsigned) {}

template <class T>
struct Shuffle {
  T value, result;
  unsigned source;
};

template <class T>
void shuffle_lanes(void* const* lanes, unsigned count) {
  for (unsigned lane = 0; lane < count; ++lane) {
    auto& mine = *static_cast<Shuffle<T>*>(lanes[lane]);
    unsigned source = mine.source < count ? mine.source : lane;
    mine.result = static_cast<Shuffle<T>*>(lanes[source])->value;
  }
}

template <class T>
T shuffle(T value, unsigned source) {
  Shuffle<T> mine{value, value, source};
  warp_collective(&mine, shuffle_lanes<T>);
  return mine.result;
}

/// The lane of the segment of `width` lanes that `source` means, or this lane where it is outside.
inline unsigned in_segment(int source, int width) {
  int first = static_cast<int>(lane()) / width * width;
  return source < first || source >= first + width ? lane() : static_cast<unsigned>(source);
}

}  // namespace cnnc_shim

inline void __syncwarp(unsigned = ~0u) {
  cnnc_shim::warp_collective(nullptr, cnnc_shim::nothing);
}
template <class T>
T __shfl_xor_sync(unsigned, T value, int mask, int width = 32) {
  int source = static_cast<int>(cnnc_shim::lane()) ^ mask;
  return cnnc_shim::shuffle(value, cnnc_shim::in_segment(source, width));
}
template <class T>
T __shfl_down_sync(unsigned, T value, unsigned delta, int width = 32) {
  int source = static_cast<int>(cnnc_shim::lane() + delta);
  return cnnc_shim::shuffle(value, cnnc_shim::in_segment(source, width));
}
template <class T>
T __shfl_up_sync(unsigned, T value, unsigned delta, int width = 32) {
  int source = static_cast<int>(cnnc_shim::lane()) - static_cast<int>(delta);
  return cnnc_shim::shuffle(value, cnnc_shim::in_segment(source, width));
}
template <class T>
T __shfl_sync(unsigned, T value, int source, int width = 32) {
  unsigned first = cnnc_shim::lane() / width * width;
  return cnnc_shim::shuffle(value, first + static_cast<unsigned>(source) % width);
}

template <class T>
T __ldg(const T* from) {
  return *from;
}
template <class T>
T __ldcg(const T* from) {
  return *from;
}
template <class T>
void __stcg(T* to, T value) {
  *to = value;
}
// Threads take turns only at barriers and behind this, so it is as good as one instruction.
template <class T>
T atomicAdd(T* to, T value) {
  T before = *to;
  *to = before + value;
  cnnc_shim::let_others_pass();
  return before;
}
template <class T>
T atomicExch(T* to, T value) {
  T before = *to;
  *to = value;
  return before;
}

inline unsigned __float_as_uint(float value) {
  unsigned bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}
inline float __uint_as_float(unsigned bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
inline int __float_as_int(float value) { return static_cast<int>(__float_as_uint(value)); }
inline float __int_as_float(int bits) { return __uint_as_float(static_cast<unsigned>(bits)); }
inline float rsqrtf(float value) { return 1.0f / sqrtf(value); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __expf(float value) { return expf(value); }
inline int __clz(int value) { return value ? __builtin_clz(static_cast<unsigned>(value)) : 32; }
template <class T>
constexpr T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
constexpr T max(T a, T b) {
  return a < b ? b : a;
}
