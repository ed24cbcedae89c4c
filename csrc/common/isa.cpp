#include "common/isa.h"

#include <atomic>
#include <cstdint>

namespace mk {
namespace {

#define MK_NAME(isa) #isa,
constexpr const char* names[] = {MK_FOR_EACH_ISA(MK_NAME)};
#undef MK_NAME

bool has([[maybe_unused]] int index) {
#if defined(__x86_64__)
  switch (index) {
    case 1:
      return __builtin_cpu_supports("x86-64-v2");
    case 2:
      return __builtin_cpu_supports("x86-64-v3");
    case 3:
      return __builtin_cpu_supports("x86-64-v4");
  }
#endif
  return true;
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
