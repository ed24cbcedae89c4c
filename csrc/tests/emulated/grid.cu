// Atomic operations, the barrier of a grid, and flags between blocks.
#include "tests/emulated/cases.h"

namespace mk::MK_ISA {

// Counts numbers by their remainder, and finds the largest, the smallest and the sum.
__global__ void statistics(const int* in, int size, int* counts, int* largest, unsigned* smallest, float* sum) {
  for (int k = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); k < size;
       k += static_cast<int>(gridDim.x * blockDim.x)) {
    atomicAdd(counts + in[k] % 8, 1);
    atomicMax(largest, in[k]);
    atomicMin(smallest, static_cast<unsigned>(in[k]));
    atomicAdd(sum, static_cast<float>(in[k]));
  }
}

// The largest of floats, which have no atomic maximum, by exchanges of what has not changed meanwhile.
__global__ void largest_of_floats(const float* in, int* largest) {
  const float mine = in[blockIdx.x * blockDim.x + threadIdx.x];
  int seen = atomicAdd(largest, 0);
  for (;;) {
    float value;
    memcpy(&value, &seen, sizeof value);
    if (mine <= value) return;
    int bits;
    memcpy(&bits, &mine, sizeof bits);
    const int now = atomicCAS(largest, seen, bits);
    if (now == seen) return;
    seen = now;
  }
}

// Each block leaves its number and takes the one before: all but one are taken.
__global__ void pass_on(int* place, int* taken) {
  if (threadIdx.x == 0) taken[blockIdx.x] = atomicExch(place, static_cast<int>(blockIdx.x) + 1);
}

// As diffuse of block.cu, over all blocks of a cooperative launch; `rows` has two halves.
__global__ void diffuse_over_grid(int* rows, int steps) {
  const auto grid = cg::this_grid();
  const int size = static_cast<int>(gridDim.x * blockDim.x);
  const int at = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  for (int step = 0; step < steps; ++step) {
    const int* const now = rows + step % 2 * size;
    int* const next = rows + (step + 1) % 2 * size;
    next[at] = (at > 0 ? load_from_l2(now + at - 1) : 0) + (at + 1 < size ? load_from_l2(now + at + 1) : 0);
    grid.sync();
  }
}

// The same with a barrier of our own: a counter that all blocks have added to by the end of a step.
__global__ void diffuse_by_counter(int* rows, int steps, unsigned* counter) {
  const int size = static_cast<int>(gridDim.x * blockDim.x);
  const int at = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  for (int step = 0; step < steps; ++step) {
    const int* const now = rows + step % 2 * size;
    int* const next = rows + (step + 1) % 2 * size;
    next[at] = (at > 0 ? load_from_l2(now + at - 1) : 0) + (at + 1 < size ? load_from_l2(now + at + 1) : 0);
    __syncthreads();
    if (threadIdx.x == 0) {
      release_add(counter, 1);
      wait_at_least(counter, gridDim.x * static_cast<unsigned>(step + 1));
    }
    __syncthreads();
  }
}

}  // namespace mk::MK_ISA

#if defined(MK_EMULATOR)
using namespace mk::MK_ISA;

namespace {

constexpr int blocks = 4, threads = 32;

// Both halves of the rows to begin with, and the half that holds the result after 5 steps.
std::vector<int> first_rows() {
  std::vector<int> rows(2 * blocks * threads, 1 << 20);
  for (int k = 0; k < blocks * threads; ++k) rows[static_cast<size_t>(k)] = k % 7;
  return rows;
}
std::string differs_from_loop(const std::vector<int>& rows) {
  const size_t size = rows.size() / 2;
  auto expected = first_rows();
  for (int step = 0; step < 5; ++step) {
    const auto now = expected;
    for (size_t k = 0; k < size; ++k) expected[k] = (k > 0 ? now[k - 1] : 0) + (k + 1 < size ? now[k + 1] : 0);
  }
  return differs(std::vector<int>(rows.begin() + static_cast<int64_t>(size), rows.end()),
                 [&](int k) { return expected[static_cast<size_t>(k)]; });
}

}  // namespace

int main(int words, char** word) {
  const Case cases[] = {
      {"statistics",
       [](unsigned order) {
         std::vector<int> in(300), counts(8), largest(1, -1);
         std::vector<unsigned> smallest(1, 1u << 31);
         std::vector<float> sum(1);
         for (int k = 0; k < 300; ++k) in[static_cast<size_t>(k)] = (k * 77 + 5) % 300 + 2;
         const auto problem = emulate({3, 64}, order, [&] {
           statistics(in.data(), 300, counts.data(), largest.data(), smallest.data(), sum.data());
         });
         return problem + differs(counts, [](int r) { return 37 + (r >= 2 && r < 6); }) +
                differs(largest, [](int) { return 301; }) + differs(smallest, [](int) { return 2u; }) +
                differs(sum, [](int) { return 300.0f * 303 / 2; });
       }},
      {"largest of floats",
       [](unsigned order) {
         std::vector<float> in(128);
         std::vector<int> largest(1);
         for (int k = 0; k < 128; ++k) in[static_cast<size_t>(k)] = static_cast<float>((k * 37) % 128);
         const auto problem = emulate({2, 64}, order, [&] { largest_of_floats(in.data(), largest.data()); });
         return problem + differs(largest, [](int) { return 0x42fe0000; });  // 127
       }},
      {"pass on",
       [](unsigned order) {
         std::vector<int> place(1), taken(5);
         const auto problem = emulate({5, 32}, order, [&] { pass_on(place.data(), taken.data()); });
         int sum = place[0];
         for (const int t : taken) sum += t;
         return problem + (sum == 15 ? "" : "wrong: a number was lost");
       }},
      {"diffuse over grid",
       [](unsigned order) {
         auto rows = first_rows();
         const auto problem =
             emulate({blocks, threads, 0, 0, 0, true}, order, [&] { diffuse_over_grid(rows.data(), 5); });
         return problem + differs_from_loop(rows);
       }},
      {"diffuse by counter",
       [](unsigned order) {
         auto rows = first_rows();
         std::vector<unsigned> counter(1);
         const auto problem = emulate({blocks, threads, 0, 0, 0, true}, order,
                                      [&] { diffuse_by_counter(rows.data(), 5, counter.data()); });
         return problem + differs_from_loop(rows);
       }},
  };
  return run_cases(cases, words, word);
}
#endif
