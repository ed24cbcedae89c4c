// Shared memory and barriers of a block.
#include "tests/emulated/cases.h"

namespace mk::MK_ISA {

// Reverses tiles of a row, one after another through the same shared memory.
__global__ void reverse_tiles(const int* in, int* out, int tiles) {
  __shared__ int tile[64];
  const int thread = static_cast<int>(threadIdx.x), last = static_cast<int>(blockDim.x) - 1;
  for (int t = 0; t < tiles; ++t) {
    tile[thread] = in[t * (last + 1) + thread];
    __syncthreads();  // all is there
    out[t * (last + 1) + thread] = tile[last - thread];
    __syncthreads();  // all is read
  }
}

// A row of numbers where each becomes the sum of its neighbours, again and again, in two halves of shared memory of
// which one is read while the other is written.
__global__ void diffuse(const int* in, int* out, int steps) {
  int* const rows = static_cast<int*>(dynamic_shared());
  const int size = static_cast<int>(blockDim.x), at = static_cast<int>(threadIdx.x);
  rows[at] = in[at];
  for (int step = 0; step < steps; ++step) {
    __syncthreads();
    const int* const now = rows + step % 2 * size;
    int* const next = rows + (step + 1) % 2 * size;
    next[at] = (at > 0 ? now[at - 1] : 0) + (at + 1 < size ? now[at + 1] : 0);
  }
  out[at] = rows[steps % 2 * size + at];
}

// The first warp makes numbers, the second takes them, through two places that each have a barrier for "full" and one
// for "empty".
__global__ void hand_over(const int* in, int* out, int rounds) {
  __shared__ int place[2][32];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const bool makes = threadIdx.x < 32;
  for (int round = 0; round < rounds; ++round) {
    const int now = round % 2, full = 1 + now, empty = 3 + now;
    if (makes) {
      if (round >= 2) named_barrier(empty, 64);
      place[now][lane] = 10 * in[32 * round + lane];
      named_arrive(full, 64);
    } else {
      named_barrier(full, 64);
      out[32 * round + lane] = place[now][31 - lane];
      if (round + 2 < rounds) named_arrive(empty, 64);
    }
  }
}

// How many numbers of a block are odd, from a sum in shared memory that starts at 0.
__global__ void count_odd(const int* in, int* out) {
  __shared__ int count;
  if (threadIdx.x == 0) count = 0;
  __syncthreads();
  const bool odd = in[blockIdx.x * blockDim.x + threadIdx.x] % 2 != 0;
  if (odd) atomicAdd(&count, 1);
  const int counted = __syncthreads_count(odd);
  if (threadIdx.x == 0) out[blockIdx.x] = 1000 * count + counted;
}

}  // namespace mk::MK_ISA

#if defined(MK_EMULATOR)
using namespace mk::MK_ISA;

namespace {
std::vector<int> counted(int size) {
  std::vector<int> numbers(static_cast<size_t>(size));
  for (int k = 0; k < size; ++k) numbers[static_cast<size_t>(k)] = 3 * k + 1;
  return numbers;
}
}  // namespace

int main(int words, char** word) {
  const Case cases[] = {
      {"reverse tiles",
       [](unsigned order) {
         const auto in = counted(3 * 64);
         std::vector<int> out(in.size());
         const auto problem = emulate({1, 64}, order, [&] { reverse_tiles(in.data(), out.data(), 3); });
         return problem + differs(out, [](int k) { return 3 * (k / 64 * 64 + 63 - k % 64) + 1; });
       }},
      {"diffuse",
       [](unsigned order) {
         const auto in = counted(96);
         std::vector<int> out(96);
         auto expected = in;
         for (int step = 0; step < 5; ++step) {
           const auto now = expected;
           for (size_t k = 0; k < 96; ++k) expected[k] = (k > 0 ? now[k - 1] : 0) + (k < 95 ? now[k + 1] : 0);
         }
         const auto problem =
             emulate({1, 96, 0, 2 * 96 * sizeof(int)}, order, [&] { diffuse(in.data(), out.data(), 5); });
         return problem + differs(out, [&](int k) { return expected[static_cast<size_t>(k)]; });
       }},
      {"hand over",
       [](unsigned order) {
         const auto in = counted(7 * 32);
         std::vector<int> out(in.size());
         const auto problem = emulate({1, 64}, order, [&] { hand_over(in.data(), out.data(), 7); });
         return problem + differs(out, [](int k) { return 10 * (3 * (k / 32 * 32 + 31 - k % 32) + 1); });
       }},
      {"count odd",
       [](unsigned order) {
         const auto in = counted(64);
         std::vector<int> out(1);
         const auto problem = emulate({1, 64}, order, [&] { count_odd(in.data(), out.data()); });
         return problem + differs(out, [](int) { return 32032; });
       }},
  };
  return run_cases(cases, words, word);
}
#endif
