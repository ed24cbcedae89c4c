// Calls of every family of kernels at sizes drawn at random, each on one thread and on several:
//     calls SEED COUNT THREADS
// COUNT calls of each family; the exit status is 2 if the number of threads changed a bit, 3 if an output was not
// written.  What else goes wrong is the sanitizer's to see.
#include "tests/calls.h"

namespace {
struct Family {
  const char* name;
  mk::RandomCall* call;
};
constexpr Family families[] = {{"layer", mk::call_layer},         {"elementwise", mk::call_elementwise},
                               {"recurrent", mk::call_recurrent}, {"sequence", mk::call_sequence},
                               {"attention", mk::call_attention}, {"decoder", mk::call_decoder},
                               {"ensemble", mk::call_ensemble},   {"seq2seq", mk::call_seq2seq}};
}  // namespace

int main(int, char** argv) {
  const auto seed = static_cast<uint64_t>(std::atoll(argv[1]));
  const int count = std::atoi(argv[2]), threads = std::atoi(argv[3]);
  for (const Family& family : families) {
    for (int k = 0; k < count; ++k) {
      const mk::Draw draw(seed * 1000003u + static_cast<uint64_t>(k));
      const uint64_t alone = family.call(draw, 1), together = family.call(draw, threads);
      if (alone == together) continue;
      std::fprintf(stderr, "%s %d: %d threads changed a bit\n", family.name, k, threads);
      return 2;
    }
    std::printf("%s %d\n", family.name, count);
  }
}
