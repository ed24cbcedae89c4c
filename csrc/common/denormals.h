// Numbers below the smallest normal one, taken as 0.
#pragma once
#include <cstdint>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#ifdef MK_ISA
namespace mk::MK_ISA {
#else
namespace mk {
#endif

// In its lifetime this thread reads and writes denormal numbers as 0, where the processor can.  Gradients that vanish
// along a training would end there: they are worth nothing, and every operation on one takes a hundred cycles.
class FlushedDenormals {
 public:
  explicit FlushedDenormals(bool wanted = true) : wanted_(wanted) {
    if (!wanted) return;
    before_ = get();
    set(before_ | flags);
  }
  ~FlushedDenormals() {
    if (wanted_) set(before_);
  }

 private:
  FlushedDenormals(const FlushedDenormals&);  // not there: a copy would restore twice

#if defined(__x86_64__)
  static constexpr uint64_t flags = 0x8040;  // of results and of operands
  static uint64_t get() { return _mm_getcsr(); }
  static void set(uint64_t state) { _mm_setcsr(static_cast<unsigned>(state)); }
#elif defined(__aarch64__)
  static constexpr uint64_t flags = uint64_t{1} << 24;
  static uint64_t get() {
    uint64_t state;
    asm volatile("mrs %0, fpcr" : "=r"(state));
    return state;
  }
  static void set(uint64_t state) { asm volatile("msr fpcr, %0" : : "r"(state) : "memory"); }
#else
  static constexpr uint64_t flags = 0;
  static uint64_t get() { return 0; }
  static void set(uint64_t) {}
#endif
  const bool wanted_;
  uint64_t before_ = 0;
};

}  // namespace mk
