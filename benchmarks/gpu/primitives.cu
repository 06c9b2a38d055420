// Every primitive on numbers that are drawn; prints words in hexadecimal, one line for each primitive.
#include "cnnc_prims.h"

#include <stdio.h>

constexpr int LANES = 32;

__device__ float small(uint32_t bits) { return static_cast<int>(bits % 2001) * 0.001f - 1.0f; }
__device__ uint32_t drawn(uint32_t seed) {
  seed = seed * 747796405u + 2891336453u;
  seed = (seed >> (seed >> 28) + 4 ^ seed) * 277803737u;
  return seed >> 22 ^ seed;
}

__global__ void copies(uint32_t *out, const uint32_t *data) {
  __shared__ __align__(16) uint32_t tile[LANES * 4];
  const int lane = threadIdx.x;
  cnnc::cp_async<16>(tile + lane * 4, data + lane * 4, lane % 5 * 4 > 16 ? 16 : lane % 5 * 4);
  cnnc::cp_async_commit();
  cnnc::cp_async_wait<0>();
  __syncthreads();
  uint32_t made[4];
  // Rows backwards: each matrix takes another piece of the tile.
  cnnc::ldmatrix_x4(made, tile + (LANES - 1 - lane) * 4);
  for (int i = 0; i < 4; ++i) out[lane * 4 + i] = made[i];
}

template <int KIND>
__global__ void products(uint32_t *out, const uint32_t *data) {
  const int lane = threadIdx.x;
  uint32_t a[4], b[2];
  for (int i = 0; i < 6; ++i) {
    const uint32_t word = drawn(lane * 6 + i + KIND * 1000);
    const float first = small(word), second = small(word >> 11);
    uint32_t made = __float_as_uint(first);
    if (KIND == 1) made = cnnc::pair_of<cnnc::bf16>(first, second);
    if (KIND == 2) made = cnnc::pair_of<cnnc::f16>(first, second);
    if (KIND == 3) made = word;
    (i < 4 ? a[i] : b[i - 4]) = made;
  }
  if (KIND == 3) {
    int sums[4] = {1, 2, 3, 4};
    cnnc::mma_s8(sums, a, b[0], b[1]);
    for (int i = 0; i < 4; ++i) out[lane * 4 + i] = static_cast<uint32_t>(sums[i]);
    return;
  }
  float sums[4] = {1.0f, 2.0f, 3.0f, 4.0f};
  if (KIND == 0) cnnc::mma_tf32(sums, a, b[0], b[1]);
  if (KIND == 1) cnnc::mma_bf16(sums, a, b[0], b[1]);
  if (KIND == 2) cnnc::mma_f16(sums, a, b[0], b[1]);
  for (int i = 0; i < 4; ++i) out[lane * 4 + i] = __float_as_uint(sums[i]);
}

__global__ void roundings(uint32_t *out, const uint32_t *data) {
  const int lane = threadIdx.x;
  const float value = __uint_as_float(data[lane]), other = __uint_as_float(data[lane + LANES]);
  uint32_t rounded = data[lane], rest;
  cnnc::split_tf32(rounded, rest);
  const bool is_number = value == value && other == other;
  out[lane * 4] = is_number ? rounded : 0;
  out[lane * 4 + 1] = is_number ? cnnc::pair_of<cnnc::bf16>(value, other) : 0;
  out[lane * 4 + 2] = is_number ? cnnc::pair_of<cnnc::f16>(value, other) : 0;
  out[lane * 4 + 3] = is_number ? __float_as_uint(cnnc::max_nan(value, other)) : 0;
}

template <class T>
__global__ void halves(uint32_t *out, const uint32_t *data) {
  const int lane = threadIdx.x;
  float values[4], back[4];
  for (int i = 0; i < 4; ++i) {
    values[i] = __uint_as_float(data[lane * 4 + i]);
    if (values[i] != values[i]) values[i] = 0.0f;
  }
  T *to = reinterpret_cast<T *>(out + lane * 4);
  cnnc::store(to, values);
  cnnc::round_to(to[0], values[1]);
  cnnc::copy(back, to);
  out[lane * 4 + 2] = __float_as_uint(back[0]);
  out[lane * 4 + 3] = __float_as_uint(back[2]);
}

using Kernel = void (*)(uint32_t *, const uint32_t *);

static int show(const char *name, Kernel kernel, uint32_t *out, const uint32_t *data) {
  uint32_t words[LANES * 4];
  void *arguments[] = {&out, &data};
  int status = cnnc::launch(kernel, dim3(1), dim3(LANES), 0, nullptr, false, arguments);
  if (status) return status;
  status = cudaMemcpy(words, out, sizeof words, cudaMemcpyDeviceToHost);
  printf("%s", name);
  for (uint32_t word : words) printf(" %08x", word);
  printf("\n");
  return status;
}

int main() {
  uint32_t *out, *data, words[LANES * 4], state = 1;
  for (uint32_t &word : words) word = state = state * 1664525u + 1013904223u;
  int status = cudaMalloc(&out, sizeof words);
  if (!status) status = cudaMalloc(&data, sizeof words);
  if (!status) status = cudaMemcpy(data, words, sizeof words, cudaMemcpyHostToDevice);
  if (!status) status = show("copies", copies, out, data);
  if (!status) status = show("roundings", roundings, out, data);
  if (!status) status = show("halves_bf16", halves<cnnc::bf16>, out, data);
  if (!status) status = show("halves_f16", halves<cnnc::f16>, out, data);
  if (!status) status = show("mma_tf32", products<0>, out, data);
  if (!status) status = show("mma_bf16", products<1>, out, data);
  if (!status) status = show("mma_f16", products<2>, out, data);
  if (!status) status = show("mma_s8", products<3>, out, data);
  if (status) fprintf(stderr, "%s\n", cudaGetErrorString(static_cast<cudaError_t>(status)));
  return status != 0;
}
