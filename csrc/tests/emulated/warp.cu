// Shuffles, votes and barriers of a warp, and a sum over a block.
#include "tests/emulated/cases.h"

namespace mk::MK_ISA {

// out[block]: the sum of a block's numbers.
__global__ void sum_of_block(const float* in, float* out) {
  __shared__ float sums[32];
  const int thread = static_cast<int>(threadIdx.x), warps = static_cast<int>(blockDim.x) / 32;
  const float of_warp = lane_sum(in[blockIdx.x * blockDim.x + threadIdx.x]);
  if (thread % 32 == 0) sums[thread / 32] = of_warp;
  __syncthreads();
  if (thread < 32) {
    const float all = lane_sum(thread < warps ? sums[thread] : 0.0f);
    if (thread == 0) out[blockIdx.x] = all;
  }
}

// Sums of all numbers of a warp up to the own one.
__global__ void sums_up_to(const int* in, int* out) {
  const int at = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x), lane = at % 32;
  int sum = in[at];
  for (int offset = 1; offset < 32; offset *= 2) {
    const int before = __shfl_up_sync(all_lanes, sum, static_cast<unsigned>(offset));
    if (lane >= offset) sum += before;
  }
  out[at] = sum + __shfl_down_sync(all_lanes, in[at], 1) * 1000 + __shfl_sync(all_lanes, in[at], 5) * 100000;
}

// Puts the odd numbers of a warp side by side; behind them -1 where all, -2 where some, -3 where none are odd.
__global__ void gather_odd(const int* in, int* out) {
  const int lane = static_cast<int>(threadIdx.x) % 32, first = static_cast<int>(threadIdx.x) - lane;
  const int value = in[threadIdx.x];
  const unsigned odd = __ballot_sync(all_lanes, value % 2 != 0);
  const bool all = __all_sync(all_lanes, value % 2 != 0), any = __any_sync(all_lanes, value % 2 != 0);
  const int before = __popc(odd & ((1u << lane) - 1));
  out[threadIdx.x] = all ? -1 : any ? -2 : -3;
  __syncwarp();
  if (value % 2 != 0) out[first + before] = value;
}

// Each lane takes its neighbours' numbers out of shared memory; halves of a warp go separate ways.
__global__ void neighbours(const int* in, int* out) {
  __shared__ int place[64];
  const int thread = static_cast<int>(threadIdx.x), half = thread % 32 / 16;
  place[thread] = in[thread];
  const unsigned mask = half == 0 ? 0x0000ffffu : 0xffff0000u;
  __syncwarp(mask);
  if (half == 0)
    out[thread] = place[thread ^ 1] + place[thread ^ 15];
  else
    out[thread] = place[thread ^ 1] - place[thread ^ 15];
}

}  // namespace mk::MK_ISA

#if defined(MK_EMULATOR)
using namespace mk::MK_ISA;

int main(int words, char** word) {
  const Case cases[] = {
      {"sum of a block",
       [](unsigned order) {
         std::vector<float> in(3 * 96), out(3);
         for (size_t k = 0; k < in.size(); ++k) in[k] = static_cast<float>(k);
         const auto problem = emulate({3, 96}, order, [&] { sum_of_block(in.data(), out.data()); });
         return problem + differs(out, [](int b) { return static_cast<float>(96 * 96 * b + 95 * 96 / 2); });
       }},
      {"sums up to",
       [](unsigned order) {
         std::vector<int> in(64), out(64);
         for (size_t k = 0; k < in.size(); ++k) in[k] = static_cast<int>(k);
         const auto problem = emulate({2, 32}, order, [&] { sums_up_to(in.data(), out.data()); });
         return problem + differs(out, [](int k) {
                  const int w = k / 32, last = k % 32 == 31;
                  return k * (k + 1) / 2 - w * 31 * 32 / 2 + 1000 * (last ? k : k + 1) + 100000 * (32 * w + 5);
                });
       }},
      {"gather odd",
       [](unsigned order) {
         std::vector<int> in(96), out(96);
         for (int k = 0; k < 96; ++k) in[static_cast<size_t>(k)] = k < 32 ? k : k < 64 ? 2 * k : 2 * k + 1;
         const auto problem = emulate({1, 96}, order, [&] { gather_odd(in.data(), out.data()); });
         return problem + differs(out, [](int k) {
                  return k < 16 ? 2 * k + 1 : k < 32 ? -2 : k < 64 ? -3 : 2 * k + 1;
                });
       }},
      {"neighbours",
       [](unsigned order) {
         std::vector<int> in(64), out(64);
         for (int k = 0; k < 64; ++k) in[static_cast<size_t>(k)] = k * k;
         const auto problem = emulate({1, 64}, order, [&] { neighbours(in.data(), out.data()); });
         return problem + differs(out, [](int k) {
                  const int a = (k ^ 1) * (k ^ 1), b = (k ^ 15) * (k ^ 15);
                  return k % 32 < 16 ? a + b : a - b;
                });
       }},
  };
  return run_cases(cases, words, word);
}
#endif
