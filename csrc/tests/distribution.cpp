// The numbers that training makes of random integers:
//     distribution float|double 1|2   the kind as in trainers/nalm/program.h; standard input holds shape_numbers
//     doubles,
//                                     then integers of 32 bits, a multiple of 64 of them; the output is as many reals
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#define MK_ISA tested
#include "trainers/nalm/draw.h"

namespace mk::tested {
namespace {

template <class R>
void run(Distribution kind) {
  double shape[shape_numbers];
  if (std::fread(shape, sizeof shape, 1, stdin) != 1) std::exit(1);
  std::vector<int32_t> block(4096);
  while (const size_t count = std::fread(block.data(), sizeof(int32_t), block.size(), stdin)) {
    std::vector<R> values(count);
    for (size_t s = 0; s < count; ++s) {
      const auto integer = static_cast<typename IntOf<R>::type>(block[s]);
      std::memcpy(&values[s], &integer, sizeof integer);
    }
    distribute(kind, static_cast<int>(count), values.data(), shape);
    std::fwrite(values.data(), sizeof(R), count, stdout);
  }
}

}  // namespace
}  // namespace mk::tested

int main(int, char** argv) {
  const auto kind = static_cast<mk::Distribution>(std::atoi(argv[2]));
  if (std::strcmp(argv[1], "float") == 0)
    mk::tested::run<float>(kind);
  else
    mk::tested::run<double>(kind);
}
