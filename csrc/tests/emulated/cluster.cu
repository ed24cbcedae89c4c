// Clusters of blocks: shared memory of each other, and the barrier whose arrival and wait stand apart.
#include "tests/emulated/cases.h"

namespace mk::MK_ISA {

// Every block gives its numbers to all blocks of its cluster, again and again, and adds up what it has got.  Two halves
// of shared memory, so that one barrier a round is enough.
__global__ void all_to_all(const int* in, int* out, int rounds) {
#if defined(MK_EMULATOR) || __CUDA_ARCH__ >= 900
  const auto cluster = cg::this_cluster();
  const int size = static_cast<int>(blockDim.x), at = static_cast<int>(threadIdx.x);
  const int blocks = static_cast<int>(cluster.num_blocks()), rank = static_cast<int>(cluster.block_rank());
  int* const places = static_cast<int*>(dynamic_shared());  // [2][blocks][size]
  int value = in[blockIdx.x * blockDim.x + threadIdx.x];
  cluster.sync();  // all blocks have begun
  for (int round = 0; round < rounds; ++round) {
    int* const half = places + round % 2 * blocks * size;
    for (int to = 0; to < blocks; ++to)
      cluster.map_shared_rank(half, static_cast<unsigned>(to))[rank * size + at] = value;
    cluster_arrive();
    const int own = 3 * value;  // what needs nobody else
    cluster_wait();
    value = own;
    for (int from = 0; from < blocks; ++from) value += half[from * size + size - 1 - at];
    value %= 1000;
  }
  out[blockIdx.x * blockDim.x + threadIdx.x] = value;
#endif
}

// Every block reads what the next one of its cluster has in its shared memory.
__global__ void read_next(const int* in, int* out) {
#if defined(MK_EMULATOR) || __CUDA_ARCH__ >= 900
  __shared__ int own[32];
  const auto cluster = cg::this_cluster();
  own[threadIdx.x] = in[blockIdx.x * blockDim.x + threadIdx.x];
  cluster.sync();
  const unsigned next = (cluster.block_rank() + 1) % cluster.num_blocks();
  out[blockIdx.x * blockDim.x + threadIdx.x] = cluster.map_shared_rank(own, next)[31 - threadIdx.x];
  cluster.sync();  // nobody ends while others read
#endif
}

}  // namespace mk::MK_ISA

#if defined(MK_EMULATOR)
using namespace mk::MK_ISA;

namespace {
constexpr int blocks = 6, size = 32, cluster = 3;
std::vector<int> numbers() {
  std::vector<int> in(blocks * size);
  for (int k = 0; k < blocks * size; ++k) in[static_cast<size_t>(k)] = k * k % 101;
  return in;
}
}  // namespace

int main(int words, char** word) {
  const Case cases[] = {
      {"all to all",
       [](unsigned order) {
         const auto in = numbers();
         std::vector<int> out(in.size());
         auto expected = in;
         for (int round = 0; round < 5; ++round) {
           const auto now = expected;
           for (int k = 0; k < blocks * size; ++k) {
             int value = 3 * now[static_cast<size_t>(k)];
             for (int from = 0; from < cluster; ++from) {
               const int block = k / size / cluster * cluster + from;
               value += now[static_cast<size_t>(block * size + size - 1 - k % size)];
             }
             expected[static_cast<size_t>(k)] = value % 1000;
           }
         }
         const auto problem = emulate({blocks, size, 0, 2 * cluster * size * sizeof(int), cluster}, order,
                                      [&] { all_to_all(in.data(), out.data(), 5); });
         return problem + differs(out, [&](int k) { return expected[static_cast<size_t>(k)]; });
       }},
#if !defined(__SANITIZE_THREAD__)  // takes the shared variables of blocks that are there at once for one
      {"read next",
       [](unsigned order) {
         const auto in = numbers();
         std::vector<int> out(in.size());
         const auto problem = emulate({blocks, size, 0, 0, cluster}, order, [&] { read_next(in.data(), out.data()); });
         return problem + differs(out, [&](int k) {
                  const int block = k / size, next = block / cluster * cluster + (block + 1) % cluster;
                  return in[static_cast<size_t>(next * size + 31 - k % size)];
                });
       }},
#endif
  };
  return run_cases(cases, words, word);
}
#endif
