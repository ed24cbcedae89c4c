// Between the rows of tensors and the panels of sequences: transposes, and stores of panels that the batch does not
// fill.
#pragma once
#include "kernels/sequence.h"
#include "kernels/transpose.h"

namespace mk::MK_ISA {

template <class T>
inline void fill(T* p, int64_t count, T value) {
  for (int64_t k = 0; k < count; ++k) p[k] = value;
}

// A panel of `wide` numbers per row from the `rows` rows of a tensor; the panel's other rows are zeros.  Absent:
// all.
template <class T>
inline void to_panel(const T* in, int64_t in_step, int64_t rows, int64_t wide, T* panel, int64_t panel_rows) {
  if (in == nullptr) return fill(panel, wide * panel_rows, T(0));
  transpose(in, in_step, rows, wide, panel, panel_rows);
  if (rows < panel_rows)
    for (int64_t c = 0; c < wide; ++c) fill(panel + c * panel_rows + rows, panel_rows - rows, T(0));
}
template <bool add = false, class T>
inline void from_panel(const T* panel, int64_t panel_rows, int64_t rows, int64_t wide, T* out, int64_t out_step) {
  transpose<add>(panel, panel_rows, wide, rows, out, out_step);
}

// Packs of a row of `rows` numbers that need not be whole packs: what lies beyond reads as 0 and is not written.
template <class V>
MK_INLINE V load_part(const Real<V>* p, int64_t left) {
  constexpr int width = Number<V>::width;
  if (left >= width) return V::load(p);
  V v = splat<V>(0);
  for (int64_t lane = 0; lane < left; ++lane)
    __builtin_memcpy(reinterpret_cast<char*>(&v) + lane * int64_t{sizeof(Real<V>)}, p + lane, sizeof(Real<V>));
  return v;
}
template <class V>
MK_INLINE void store_part(V v, Real<V>* p, int64_t left) {
  constexpr int width = Number<V>::width;
  if (left >= width) return v.store(p);
  for (int64_t lane = 0; lane < left; ++lane)
    __builtin_memcpy(p + lane, reinterpret_cast<const char*>(&v) + lane * int64_t{sizeof(Real<V>)}, sizeof(Real<V>));
}

// One number for each lane, at the place that its index names.
template <class V>
MK_INLINE V gather(const Real<V>* p, const int32_t* index) {
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64 && sizeof(Real<V>) == 4) return {_mm512_i32gather_ps(_mm512_loadu_si512(index), p, 4)};
#endif
  V v;
  for (int lane = 0; lane < Number<V>::width; ++lane) v.raw[lane] = p[index[lane]];
  return v;
}

// Rounded to the nearest bfloat16, halves to even, and kept as a float; a NaN stays one.
template <class V>
MK_INLINE V bfloat16_rounded(V v) {
  if constexpr (sizeof(Real<V>) != sizeof(float))
    return v;
  else {
    const auto b = bits(v);
    const auto rounded = from_bits<V>((b + 0x7fff + ((b >> 16) & 1)) & static_cast<int32_t>(0xffff0000u));
    return select(v == v, rounded, v);
  }
}
// All of an array, where products are of bfloat16.
template <class T>
inline void round_all(bool bfloat16, int64_t count, T* values) {
  using V = Pack<T>;
  if (!bfloat16) return;
  int64_t k = 0;
  for (; k + Number<V>::width <= count; k += Number<V>::width) bfloat16_rounded(V::load(values + k)).store(values + k);
  for (; k < count; ++k) values[k] = bfloat16_rounded(values[k]);
}

}  // namespace mk::MK_ISA
