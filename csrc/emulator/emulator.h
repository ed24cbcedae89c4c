// Lets g++ compile the kernels of csrc/cuda unmodified and run them on the CPU, for tests.
//
// A lane is a fiber with a stack of its own, a warp 32 of them.  A lane runs until it meets a shuffle; the shuffle
// takes place when all lanes of its mask have arrived, and a warp whose lanes wait for ever is an error.  Warps run one
// after another in an order that the caller picks, and the lanes within a warp too: a result that depends on the order
// is a race. Stacks start filled with NaN, so that reading a local variable that was never written shows.
//
// Not here, because no kernel uses them yet: shared memory, block and grid barriers, votes, atomics.
#pragma once
#include <cstdint>
#include <cstring>

#define __global__
#define __grid_constant__
#define __launch_bounds__(...)

struct Dim {
  unsigned x;
};
inline Dim threadIdx, blockIdx, blockDim;

namespace mk::emulator {

// Meets the lanes of `mask` and returns the bits that lane `source` brought; `kind` must be the same for all of them.
uint64_t exchange(unsigned mask, int kind, int source, uint64_t bits);

int current_lane();

// Runs kernel() in every thread of the grid.  Order 0 is ascending, 1 descending, any other a permutation.  Returns
// nullptr, or what went wrong.
const char* launch(int blocks, int block_threads, unsigned order, void (*kernel)(void*), void* argument);

}  // namespace mk::emulator

template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int offset) {
  static_assert(sizeof(T) <= sizeof(uint64_t), "a shuffle moves at most 64 bits");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = mk::emulator::exchange(mask, offset, mk::emulator::current_lane() ^ offset, bits);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
