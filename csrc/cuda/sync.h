// What a kernel uses beyond a warp, by the same names under nvcc and under the emulator: shared memory, barriers of
// some warps of a block, of a cluster and of any group of blocks.
#pragma once
#include "cuda/warp.h"

#if defined(MK_EMULATOR)
namespace mk::MK_ISA {
using emulator::cluster_arrive;
using emulator::cluster_arrive_relaxed;
using emulator::cluster_wait;
using emulator::dynamic_shared;
using emulator::load_from_l2;
using emulator::named_arrive;
using emulator::named_barrier;
using emulator::release_add;
using emulator::wait_at_least;
}  // namespace mk::MK_ISA
#else
#include <cooperative_groups.h>

namespace mk::MK_ISA {

// The dynamic shared memory of the block.
MK_INLINE void* dynamic_shared() {
  extern __shared__ __align__(128) unsigned char mk_dynamic_shared[];
  return mk_dynamic_shared;
}

// Barrier `id`, 1 to 15, of `threads` threads of the block, whole warps. Who need not wait arrives.
MK_INLINE void named_barrier(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
MK_INLINE void named_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// The cluster's barrier in two halves, of all threads. What was written before an arrival that is not relaxed is seen
// after the wait.
MK_INLINE void cluster_arrive() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
}
MK_INLINE void cluster_arrive_relaxed() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
#endif
}
MK_INLINE void cluster_wait() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}

// A flag in global memory: what the thread, and those that it met at barriers, have written before adding to it is seen
// by who waits until it has reached `target` or, taken round the end of its numbers, more.
MK_INLINE void release_add(unsigned* flag, unsigned value) {
  asm volatile("red.release.gpu.add.u32 [%0], %1;" ::"l"(flag), "r"(value) : "memory");
}
MK_INLINE void wait_at_least(const unsigned* flag, unsigned target) {
  unsigned now;
  do {
    asm volatile("ld.acquire.gpu.u32 %0, [%1];" : "=r"(now) : "l"(flag) : "memory");
  } while (static_cast<int>(now - target) < 0);
}

// What other blocks have written during the launch: past the multiprocessor's own cache.
template <class T>
MK_INLINE T load_from_l2(const T* address) {
  return __ldcg(address);
}

}  // namespace mk::MK_ISA
#endif
