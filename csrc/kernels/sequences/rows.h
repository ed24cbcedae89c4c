// Between the rows of tensors and the panels of sequences: transposes, and stores of panels that the batch does not
// fill.
#pragma once
#include <type_traits>

#include "common/transpose.h"
#include "kernels/sequences/shape.h"

namespace mk::MK_ISA {

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

// Packs of a row that need not be whole: what lies beyond its `left` numbers reads as 0 and is not written.
#if defined(__AVX512F__)
template <class V>
constexpr bool takes_masks = sizeof(V) == 64;
template <class V>
MK_INLINE unsigned first_lanes(int64_t left) {
  return left >= Number<V>::width ? (1u << Number<V>::width) - 1 : left > 0 ? (1u << left) - 1 : 0;
}
#endif
template <class V>
MK_INLINE V load_part(const Real<V>* p, int64_t left) {
  constexpr int width = Number<V>::width;
#if defined(__AVX512F__)
  if constexpr (takes_masks<V> && sizeof(Real<V>) == 4) return {_mm512_maskz_loadu_ps(first_lanes<V>(left), p)};
  if constexpr (takes_masks<V> && sizeof(Real<V>) == 8) return {_mm512_maskz_loadu_pd(first_lanes<V>(left), p)};
#endif
  if (left >= width) return V::load(p);
  V v = splat<V>(0);
  for (int64_t lane = 0; lane < left; ++lane)
    __builtin_memcpy(reinterpret_cast<char*>(&v) + lane * int64_t{sizeof(Real<V>)}, p + lane, sizeof(Real<V>));
  return v;
}
template <class V>
MK_INLINE void store_part(V v, Real<V>* p, int64_t left) {
  constexpr int width = Number<V>::width;
#if defined(__AVX512F__)
  if constexpr (takes_masks<V> && sizeof(Real<V>) == 4) return _mm512_mask_storeu_ps(p, first_lanes<V>(left), v.raw);
  if constexpr (takes_masks<V> && sizeof(Real<V>) == 8) return _mm512_mask_storeu_pd(p, first_lanes<V>(left), v.raw);
#endif
  if (left >= width) return v.store(p);
  for (int64_t lane = 0; lane < left; ++lane)
    __builtin_memcpy(p + lane, reinterpret_cast<const char*>(&v) + lane * int64_t{sizeof(Real<V>)}, sizeof(Real<V>));
}

// One element for each lane, at its index, of `count` elements.
template <class V>
MK_INLINE V gather(const Real<V>* p, [[maybe_unused]] int64_t count, const int32_t* index) {
#if defined(__AVX512F__)
  if constexpr (takes_masks<V> && sizeof(Real<V>) == 4) {
    const __m512i places = _mm512_loadu_si512(index);
    if (count > 128) return {_mm512_i32gather_ps(places, p, 4)};
    // 128 or fewer are looked up in registers, 32 at a time: faster (docs/performance_sequences.md).
    const auto sixteen = [&](int64_t first) { return load_part<V>(p + first, count - first).raw; };
    __m512 found = _mm512_permutex2var_ps(sixteen(0), places, sixteen(16));
    for (int32_t first = 32; first < count; first += 32)
      found = _mm512_mask_mov_ps(found, _mm512_cmpge_epi32_mask(places, _mm512_set1_epi32(first)),
                                 _mm512_permutex2var_ps(sixteen(first), places, sixteen(first + 16)));
    return {found};
  }
#endif
  V v;
  for (int lane = 0; lane < Number<V>::width; ++lane) v.raw[lane] = p[index[lane]];
  return v;
}

template <class V>
MK_INLINE V gather(const Real<V>* p, const int64_t* index) {
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
    const auto rounded =
        from_bits<V>((Bits<V>)((unsigned_bits<V>(b) + 0x7fffu + unsigned_bits<V>((b >> 16) & 1)) & 0xffff0000u));
    return select(v == v, rounded, v);
  }
}
// All of an array.
template <class T>
inline void round_all(int64_t count, T* values) {
  using V = Pack<T>;
  int64_t k = 0;
  for (; k + Number<V>::width <= count; k += Number<V>::width) bfloat16_rounded(V::load(values + k)).store(values + k);
  for (; k < count; ++k) values[k] = bfloat16_rounded(values[k]);
}

// A pack or a single number.
template <class V>
MK_INLINE V load_number(const Real<V>* p) {
  if constexpr (std::is_arithmetic_v<V>)
    return *p;
  else
    return V::load(p);
}
template <class V>
MK_INLINE void store_number(V v, Real<V>* p) {
  if constexpr (std::is_arithmetic_v<V>)
    *p = v;
  else
    v.store(p);
}

// Two bfloat16 numbers as one word, the second in its upper half, and the pair as floats.
template <class V>
MK_INLINE V joined(V first, V second) {
  return from_bits<V>(bits(second) | ((bits(first) >> 16) & 0xffff));
}
template <class V>
MK_INLINE V first_of(V word) {
  return from_bits<V>((Bits<V>)(unsigned_bits<V>(bits(word)) << 16));
}
template <class V>
MK_INLINE V second_of(V word) {
  return from_bits<V>(bits(word) & static_cast<int32_t>(0xffff0000u));
}

// Rows [count][wide] of numbers as products of bfloat16 read them: rounded, and of each two the second first, or both
// in one row of words.  That is the order in which vdpbf16ps adds.  An odd last row meets a row of zeros.  `out` may be
// `in` if count is even.
template <class T>
inline void to_pairs(bool words, int64_t count, int64_t wide, const T* in, T* out) {
  if constexpr (sizeof(T) == sizeof(float)) {
    const auto take = [&](auto zero, const T* first, bool both, T* place) {
      using V = decltype(zero);
      const V one = bfloat16_rounded(load_number<V>(first));
      const V other = both ? bfloat16_rounded(load_number<V>(first + wide)) : zero;
      store_number(words ? joined(one, other) : other, place);
      if (!words) store_number(one, place + wide);
    };
    constexpr int64_t width = Number<Pack<T>>::width;
    const int64_t whole = wide / width * width;
    for (int64_t left = count; left > 0; left -= 2) {
      for (int64_t i = 0; i < whole; i += width) take(splat<Pack<T>>(T(0)), in + i, left > 1, out + i);
      for (int64_t i = whole; i < wide; ++i) take(T(0), in + i, left > 1, out + i);
      in += 2 * wide;
      out += (words ? 1 : 2) * wide;
    }
  }
}
// The same for a reduction dimension that lies in a row: rounded numbers, a multiple of 16 of them, in place.  Written
// so that the compiler finds one shuffle, and one narrowing of 64 bits to the half that holds a word.
template <class T>
inline void neighbours_to_pairs(bool words, int64_t count, T* values) {
  if constexpr (sizeof(T) == sizeof(float))
    for (int64_t k = 0; k < count; k += 16) {
      T in[16], swapped[16];
      __builtin_memcpy(in, values + k, sizeof in);
      for (int j = 0; j < 16; ++j) swapped[j] = in[j ^ 1];
      if (!words) {
        __builtin_memcpy(values + k, swapped, sizeof swapped);
        continue;
      }
      T both[16];
      for (int j = 0; j < 16; ++j) both[j] = joined(in[j], swapped[j]);
      int64_t wide[8];
      int32_t narrow[8];
      __builtin_memcpy(wide, both, sizeof both);
      for (int j = 0; j < 8; ++j) narrow[j] = static_cast<int32_t>(wide[j]);  // the even numbers' words
      __builtin_memcpy(values + k / 2, narrow, sizeof narrow);
    }
}

}  // namespace mk::MK_ISA
