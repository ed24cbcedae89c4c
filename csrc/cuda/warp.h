// What a kernel uses of a GPU, by the same names under nvcc and under the emulator.
#pragma once
#if defined(MK_EMULATOR)
#include "emulator/emulator.h"
#else
#include <cuda_runtime.h>
#endif
#include "common/scalar.h"

#if defined(__CUDACC__)
#define MK_NO_UNROLL _Pragma("unroll 1")
#define MK_NOINLINE static __device__ __noinline__
#else
#define MK_NO_UNROLL
#define MK_NOINLINE static __attribute__((noinline))
#endif

namespace mk::MK_ISA {

constexpr int warp_lanes = 32;
constexpr unsigned all_lanes = 0xffffffffu;

// The sum over the lanes of a warp, the same in every lane: the balanced tree of common/lanes.h.
template <class T>
MK_INLINE T lane_sum(T v) {
  MK_UNROLL
  for (int offset = warp_lanes / 2; offset > 0; offset /= 2) v = v + __shfl_xor_sync(all_lanes, v, offset);
  return v;
}

}  // namespace mk::MK_ISA
