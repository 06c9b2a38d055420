// What the stand-in for the CUDA runtime must notice, one scenario for each name.
#include "cnnc_prims.h"

#include <stdio.h>
#include <string.h>

__global__ void sums(float *out) {
  CNNC_DYNAMIC_SHARED(shared);
  float *values = reinterpret_cast<float *>(shared);
  values[threadIdx.x] = static_cast<float>(threadIdx.x);
  __syncthreads();
  out[threadIdx.x] = values[blockDim.x - 1 - threadIdx.x];
}
__global__ void unwritten(float *out) {
  CNNC_DYNAMIC_SHARED(shared);
  __shared__ float plain[32];
  out[threadIdx.x] = reinterpret_cast<float *>(shared)[threadIdx.x] + plain[threadIdx.x];
}
__global__ void without_barrier(float *out) {
  CNNC_DYNAMIC_SHARED(shared);
  float *values = reinterpret_cast<float *>(shared);
  values[threadIdx.x] = static_cast<float>(threadIdx.x);
  out[threadIdx.x] = values[blockDim.x - 1 - threadIdx.x];
}
__global__ void not_waited(float *out) {
  CNNC_DYNAMIC_SHARED(shared);
  cnnc::cp_async<16>(shared + threadIdx.x * 16, out + threadIdx.x * 4, 16);
  cnnc::cp_async_commit();
  __syncthreads();
  const float value = reinterpret_cast<float *>(shared)[threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = value;
}
__global__ void some_at_barrier(float *out) {
  if (threadIdx.x < 16) __shfl_xor_sync(~0u, out[0], 1);
  out[threadIdx.x] = 1.0f;
}
__global__ void two_barriers(float *out) {
  if (threadIdx.x < 16) {
    __syncthreads();
    out[0] = 1.0f;
  } else {
    __syncthreads();
    out[1] = 1.0f;
  }
}
__global__ void one_ends(float *out) {
  if (threadIdx.x == 3) return;
  __syncthreads();
  out[threadIdx.x] = 1.0f;
}
__global__ void beyond(float *out) { out[threadIdx.x + 8] = 1.0f; }
__global__ void beyond_shared(float *out) {
  CNNC_DYNAMIC_SHARED(shared);
  reinterpret_cast<float *>(shared)[threadIdx.x + 8] = 1.0f;
  out[0] = 1.0f;
}
__global__ void misaligned(float *out) {
  CNNC_DYNAMIC_SHARED(shared);
  cnnc::cp_async<16>(shared, out + 1, 16);
}
__global__ void mixed(float *out) {
  if (threadIdx.x < 16) {
    __syncwarp();
  } else {
    out[threadIdx.x] = __shfl_xor_sync(~0u, 1.0f, 1);
  }
}
__global__ void shuffles(float *out) {
  const float lane = static_cast<float>(threadIdx.x);
  out[threadIdx.x] = __shfl_xor_sync(~0u, lane, 1) + 100 * __shfl_down_sync(~0u, lane, 4, 8) +
                     10000 * __shfl_sync(~0u, lane, 3, 8) + 1e6f * __shfl_up_sync(~0u, lane, 1);
}

struct Scenario {
  const char *name;
  void (*kernel)(float *);
  size_t shared;
};
static const Scenario ALL[] = {
    {"sums", sums, 128},           {"unwritten", unwritten, 128},
    {"without_barrier", without_barrier, 128}, {"not_waited", not_waited, 512},
    {"some_at_barrier", some_at_barrier, 0},   {"two_barriers", two_barriers, 0},
    {"one_ends", one_ends, 0},     {"beyond", beyond, 0},
    {"beyond_shared", beyond_shared, 128},     {"misaligned", misaligned, 512},
    {"mixed", mixed, 0},           {"shuffles", shuffles, 0},
    {"too_much_shared", sums, 64 * 1024},
};

int main(int, char **arguments) {
  float *out, words[32];
  cudaMalloc(&out, 32 * sizeof(float));
  for (const Scenario &each : ALL) {
    if (strcmp(each.name, arguments[1]) != 0) continue;
    // As a graph, which has to give what a launch gives.
    cudaStream_t stream;
    cudaGraph_t graph;
    cudaGraphExec_t ready;
    cudaStreamCreate(&stream);
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal);
    void *passed[] = {&out};
    int status = cnnc::launch(each.kernel, dim3(1), dim3(32), each.shared, stream, true, passed);
    cudaStreamEndCapture(stream, &graph);
    cudaGraphInstantiate(&ready, graph, 0);
    cudaGraphLaunch(ready, stream);
    cudaMemcpy(words, out, sizeof words, cudaMemcpyDeviceToHost);
    printf("%d", status);
    for (float word : words) printf(" %g", word);
    printf("\n");
    cudaGraphExecDestroy(ready);
    cudaGraphDestroy(graph);
    cudaStreamDestroy(stream);
    return cudaFree(out);
  }
  return 1;
}
