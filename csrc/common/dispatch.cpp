#include "common/dispatch.h"

#include <atomic>

#include "common/isa.h"

namespace mk {

#define MK_DECLARE(isa)                        \
  namespace isa {                              \
  extern const InstructionSet instruction_set; \
  }
MK_FOR_EACH_ISA(MK_DECLARE)
#undef MK_DECLARE

#define MK_ADDRESS(isa) &isa::instruction_set,
const InstructionSet& instruction_set() {
  static constexpr const InstructionSet* all[] = {MK_FOR_EACH_ISA(MK_ADDRESS)};
  return *all[isa_current()];
}
#undef MK_ADDRESS

namespace {

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

std::atomic<Pairs>& pairs() {
  static std::atomic<Pairs> which{Pairs::where_faster};
  return which;
}

}  // namespace

bool bfloat16_pairs(const InstructionSet& set) {
  static const bool gains = gains_from_pairs();
  const Pairs which = pairs().load(std::memory_order_relaxed);
  if (which == Pairs::where_faster) return gains && set.pairs_by_instruction;
  return which == Pairs::always && (has_bfloat16_pairs() || !set.pairs_by_instruction);
}
bool bfloat16_pairs_set(Pairs which) {
  if (which == Pairs::always && instruction_set().pairs_by_instruction && !has_bfloat16_pairs()) return false;
  pairs().store(which, std::memory_order_relaxed);
  return true;
}

}  // namespace mk
