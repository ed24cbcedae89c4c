#include "common/isa.h"

#include <atomic>
#include <cstdint>

namespace mk {
namespace {

#define MK_NAME(isa) #isa,
constexpr const char* names[] = {MK_FOR_EACH_ISA(MK_NAME)};
#undef MK_NAME

bool has([[maybe_unused]] int index) {
#if defined(__x86_64__) && defined(__clang__)
  // Old releases know the levels by their features only; these come with the others of a level.
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                  __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  const bool levels[] = {true, v3, v4};
  return levels[index];
#elif defined(__x86_64__)
  switch (index) {
    case 1:
      return __builtin_cpu_supports("x86-64-v3");
    case 2:
      return __builtin_cpu_supports("x86-64-v4");
  }
  return true;
#else
  return true;
#endif
}

constexpr int count = sizeof names / sizeof names[0];

std::atomic<int>& current() {
  static std::atomic<int> index{isa_best()};
  return index;
}

}  // namespace

int isa_count() { return count; }
const char* isa_name(int index) { return names[index]; }
bool isa_available(int index) { return index >= 0 && index < count && has(index); }
int isa_best() {
  int best = 0;
  for (int k = 0; k < count; ++k)
    if (has(k)) best = k;
  return best;
}
int isa_current() { return current().load(std::memory_order_relaxed); }
bool isa_force(int index) {
  if (!isa_available(index)) return false;
  current().store(index, std::memory_order_relaxed);
  return true;
}

}  // namespace mk
