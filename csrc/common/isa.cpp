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
  const bool v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
  const bool v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  const bool levels[] = {true, v2, v3, v4};
  return levels[index];
#elif defined(__x86_64__)
  switch (index) {
    case 1:
      return __builtin_cpu_supports("x86-64-v2");
    case 2:
      return __builtin_cpu_supports("x86-64-v3");
    case 3:
      return __builtin_cpu_supports("x86-64-v4");
  }
  return true;
#else
  return true;
#endif
}

// vdpbf16ps does the work of two fused multiply-adds.  Measured: AMD's Zen 4 starts as many of them as multiply-adds
// (sequences of 512 units take 0.57 of the time), Intel's Emerald Rapids a quarter (99 to 107 GFLOP/s against 206 to
// 216).
bool has_bfloat16_pairs() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}
bool gains_from_pairs() {
#if defined(__x86_64__)
  return has_bfloat16_pairs() && __builtin_cpu_is("amd");
#else
  return false;
#endif
}

constexpr int count = sizeof names / sizeof names[0];

std::atomic<int>& current() {
  static std::atomic<int> index{isa_best()};
  return index;
}

std::atomic<Pairs>& pairs() {
  static std::atomic<Pairs> which{Pairs::where_faster};
  return which;
}
// The kernels of the widest set of x86-64 take pairs by the instruction.
bool needs_instruction() {
#if defined(__x86_64__)
  return isa_current() == count - 1;
#else
  return false;
#endif
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

bool bfloat16_pairs() {
  static const bool gains = gains_from_pairs();
  const Pairs which = pairs().load(std::memory_order_relaxed);
  if (which != Pairs::where_faster) return which == Pairs::always && (has_bfloat16_pairs() || !needs_instruction());
  return gains && needs_instruction();
}
bool bfloat16_pairs_set(Pairs which) {
  if (which == Pairs::always && needs_instruction() && !has_bfloat16_pairs()) return false;
  pairs().store(which, std::memory_order_relaxed);
  return true;
}

}  // namespace mk
