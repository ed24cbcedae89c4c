// Writes the training streams as raw 32-bit words to stdout, for statistical batteries that read a pipe:
//     random_stream hash|philox ORDER | dieharder -a -g 200
// ORDER names the four keys from the fastest to the slowest: s seed, t iteration, b sample, i input (say "stib").
// 16 seeds, 16 iterations, 128 samples and 10 inputs are interleaved in that order, then the next 16 iterations follow.
#define MK_ISA driver
#include <cstdio>
#include <cstring>
#include <string>

#include "common/random.h"

using namespace mk::driver;

namespace {
constexpr uint32_t sizes[] = {16, 16, 128, 10};  // s t b i
constexpr const char names[] = "stbi";

uint32_t draw(bool hash, const uint32_t (&key)[4], uint64_t epoch) {
  const uint64_t iteration = epoch * sizes[1] + key[1];
  if (hash) {
    const HashKey words = hash_key(key[0], iteration);
    return hash_bits(words, hash_counter(words, key[2], key[3]));
  }
  return philox(key[0], iteration, key[3], key[2] / 4).word[key[2] % 4];
}
}  // namespace

int main(int argc, char** argv) {
  const std::string order = argc == 3 ? argv[2] : "";
  int axis[4];
  bool valid = order.size() == 4 && (!std::strcmp(argv[1], "hash") || !std::strcmp(argv[1], "philox"));
  for (int k = 0; valid && k < 4; ++k) {
    const char* found = std::strchr(names, order[static_cast<size_t>(k)]);
    valid = found != nullptr && order.find(order[static_cast<size_t>(k)]) == static_cast<size_t>(k);
    if (valid) axis[k] = static_cast<int>(found - names);
  }
  if (!valid) {
    std::fprintf(stderr, "usage: random_stream hash|philox ORDER, a permutation of %s\n", names);
    return 2;
  }
  const bool hash = !std::strcmp(argv[1], "hash");
  static uint32_t words[16 * 16 * 128 * 10];
  for (uint64_t epoch = 0;; ++epoch) {
    size_t n = 0;
    uint32_t key[4];
    for (key[axis[3]] = 0; key[axis[3]] < sizes[axis[3]]; ++key[axis[3]])
      for (key[axis[2]] = 0; key[axis[2]] < sizes[axis[2]]; ++key[axis[2]])
        for (key[axis[1]] = 0; key[axis[1]] < sizes[axis[1]]; ++key[axis[1]])
          for (key[axis[0]] = 0; key[axis[0]] < sizes[axis[0]]; ++key[axis[0]]) words[n++] = draw(hash, key, epoch);
    if (std::fwrite(words, sizeof words, 1, stdout) != 1) return 0;
  }
}
