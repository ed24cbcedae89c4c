// The bump allocator of all kernels: the caller's memory in pieces, one after another.  From null it only counts, so
// that the code which takes the pieces is also what says how many bytes they need.
//
// Kernels have it in their own namespace, as everything with inline functions.
#pragma once
#include <cstdint>

#ifdef MK_ISA
namespace mk::MK_ISA {
#else
namespace mk {
#endif

constexpr int64_t alignment = 64;  // a line of the cache and a pack of the widest machine

inline int64_t rounded_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

template <class T>
inline void fill(T* p, int64_t count, T value) {
  for (int64_t k = 0; k < count; ++k) p[k] = value;
}

class Arena {
 public:
  // Begins at the first aligned place; memory at any other needs `alignment` bytes more than used().
  explicit Arena(void* memory) {
    const auto address = reinterpret_cast<uintptr_t>(memory);
    if (memory != nullptr) begin_ = static_cast<char*>(memory) + (alignment - address % alignment) % alignment;
  }

  // Every piece is aligned, and its length rounded up to whole lines.
  template <class T>
  T* take(int64_t count, int64_t bytes_each = sizeof(T)) {
    const int64_t first = used_;
    used_ += rounded_up(count * bytes_each, alignment);
    return begin_ == nullptr ? nullptr : reinterpret_cast<T*>(begin_ + first);
  }
  // Packs, counted as the widest machine's: sizes do not depend on the instruction set.
  template <class V>
  V* take_packs(int64_t count) {
    return take<V>(count, alignment);
  }
  int64_t used() const { return used_; }

 private:
  char* begin_ = nullptr;
  int64_t used_ = 0;
};

#ifdef MK_ISA
}  // namespace mk::MK_ISA
#else
}  // namespace mk
#endif
