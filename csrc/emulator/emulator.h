// Lets g++ compile the kernels of csrc/cuda unmodified and run them on the CPU, for tests.
//
// A lane is a fiber with a stack of its own, a warp 32 of them.  Each warp runs until all of its lanes wait, then the
// next one does, in an order that the caller picks; the lanes within a warp likewise: a result that depends on the
// order is a race.  A shuffle takes place when all lanes of its mask have arrived, a barrier when all of its threads
// have.  A kernel that waits for ever is an error that names what it waits for and the lanes.  Stacks and shared memory
// start filled with NaN, so that reading what was never written shows.
//
// Stricter than a GPU: all lanes of a warp arrive at a barrier from the same line, a thread that has ended counts as
// missing, and the lanes of a shuffle come from the same line.
//
// By theme: warp.h shuffles and votes, barriers.h barriers of blocks, clusters and grids and flags in memory,
// atomics.h, half.h numbers of 16 bits, matrix.h products of matrices by a warp (wmma).
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __restrict__
#define __grid_constant__
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
// The emulator keeps one image of a module's thread-local variables per block, and changes it with the block that runs.
#define __shared__ static thread_local

struct Dim {
  unsigned x = 0, y = 0, z = 0;
};
inline Dim threadIdx, blockIdx, blockDim, gridDim;

namespace mk::emulator {

// Where in a kernel something is called; the default argument of what kernels call.
struct Site {
  const char* file;
  int line;
  static Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
};

struct Launch {
  int blocks, block_threads;
  unsigned order = 0;        // 0 ascending, 1 descending, any other a permutation
  size_t shared_bytes = 0;   // of dynamic shared memory
  int cluster = 0;           // blocks of a cluster, 0 for a launch without
  bool cooperative = false;  // all blocks are there at once
  void (*kernel)(void*) = nullptr;
  void* argument = nullptr;
};

// Runs kernel(argument) in every thread of the grid.  Returns nullptr, or what went wrong.
const char* run(const Launch& launch);

inline const char* launch(int blocks, int block_threads, unsigned order, void (*kernel)(void*), void* argument) {
  return run({blocks, block_threads, order, 0, 0, false, kernel, argument});
}

// Ends the launch with an error, from within a kernel.
[[noreturn]] void fail(Site site, const char* what);

int current_lane();

// The dynamic shared memory of the running block, aligned to 128 bytes.
void* dynamic_shared();

}  // namespace mk::emulator

#include "emulator/atomics.h"
#include "emulator/barriers.h"
#include "emulator/warp.h"
