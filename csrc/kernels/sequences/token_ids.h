// Sums by token, for the gradients of weights that token ids select: only those that occur take memory.
//
// As in the products of dense rows, the rows of one flush are added up first, here those of the same token, and the
// sums then go into the total.
#pragma once
#include "kernels/sequences/layout.h"

namespace mk::MK_ISA {

// Numbers token ids in the order of their first occurrence: a hash table in the caller's memory.
class TokenPlaces {
 public:
  static int64_t words(int64_t most) { return 1 + most + slots_for(most); }
  TokenPlaces(void* memory, int64_t most)
      : count_(static_cast<int64_t*>(memory)), ids_(count_ + 1), slots_(ids_ + most), mask_(slots_for(most) - 1) {}

  void clear() const {
    *count_ = 0;
    for (int64_t k = 0; k <= mask_; ++k) slots_[k] = 0;
  }
  int64_t count() const { return *count_; }
  int64_t token(int64_t place) const { return ids_[place]; }
  int64_t place(int64_t token) const {
    const uint64_t mixed = static_cast<uint64_t>(token) * 0x9E3779B97F4A7C15u;
    int64_t slot = static_cast<int64_t>(mixed >> 32) & mask_;
    for (; slots_[slot] != 0; slot = (slot + 1) & mask_)
      if (ids_[slots_[slot] - 1] == token) return slots_[slot] - 1;
    ids_[*count_] = token;
    slots_[slot] = ++*count_;
    return *count_ - 1;
  }

 private:
  static int64_t slots_for(int64_t most) {  // at least twice as many, so that runs of taken slots are short
    int64_t slots = 2;
    while (slots < 2 * most) slots *= 2;
    return slots;
  }
  int64_t *const count_, *const ids_, *const slots_;  // a slot holds place + 1, or 0
  const int64_t mask_;
};

// A row of `wide` sums for each token that has occurred.
template <class T>
struct TokenSums {
  static constexpr int64_t numbers_of_word = sizeof(int64_t) / sizeof(T);
  static int64_t numbers(int64_t most, int64_t wide) {
    return rounded_up(most * wide, 16) + rounded_up(TokenPlaces::words(most) * numbers_of_word, 16);
  }

  const int64_t wide;
  T* const sums;
  const TokenPlaces places;

  TokenSums(T* memory, int64_t most, int64_t row_numbers)
      : wide(row_numbers), sums(memory), places(memory + rounded_up(most * row_numbers, 16), most) {}

  T* row(int64_t token) const {
    const int64_t known = places.count(), place = places.place(token);
    T* const sum = sums + place * wide;
    if (place == known) fill(sum, wide, T(0));
    return sum;
  }
  void add(int64_t token, const T* values) const {
    using V = Pack<T>;
    constexpr int64_t width = Number<V>::width;
    T* const sum = row(token);
    int64_t j = 0;
    for (; j + width <= wide; j += width) (V::load(sum + j) + V::load(values + j)).store(sum + j);
    for (; j < wide; ++j) sum[j] = sum[j] + values[j];
  }
};

}  // namespace mk::MK_ISA
