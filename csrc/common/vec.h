// A pack of W floats or doubles: the number concept of scalar.h for the CPU, by the compiler's vector extensions.
// One source serves SSE, AVX2, AVX-512 and NEON; W is chosen per instruction set in lanes.h.  Never include this from
// a header that nvcc sees.
#pragma once
#include "common/scalar.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mk::MK_ISA {

template <class T>
struct IntOf;
template <>
struct IntOf<float> {
  using type = int32_t;
};
template <>
struct IntOf<double> {
  using type = int64_t;
};

template <class T, int W>
struct Vec {
  typedef T Raw __attribute__((vector_size(sizeof(T) * W)));
  typedef typename IntOf<T>::type RawInt __attribute__((vector_size(sizeof(T) * W)));
  static constexpr int lanes = W;
  Raw raw;

  static MK_INLINE Vec load(const T* p) {
    Vec v;
    __builtin_memcpy(&v.raw, p, sizeof v.raw);
    return v;
  }
  MK_INLINE void store(T* p) const { __builtin_memcpy(p, &raw, sizeof raw); }
  MK_INLINE T operator[](int lane) const { return raw[lane]; }
};

template <class T, int W>
struct Number<Vec<T, W>> {
  using V = Vec<T, W>;
  using Real = T;
  using Mask = typename V::RawInt;
  using Bits = typename V::RawInt;
  static constexpr int width = W;
  static MK_INLINE V splat(T r) { return {r - typename V::Raw{}}; }  // r - 0 is r for every r, NaN and -0 included
  static MK_INLINE V from_bits(Bits b) { return {(typename V::Raw)b}; }
  typedef uint32_t UnsignedBits __attribute__((vector_size(sizeof(Bits))));
  static MK_INLINE UnsignedBits unsigned_bits(Bits b) { return (UnsignedBits)b; }
  template <class I>
  static MK_INLINE V to_real(I i) {
    return {__builtin_convertvector(i, typename V::Raw)};
  }
};

#define MK_VEC              \
  template <class T, int W> \
  MK_INLINE
MK_VEC Vec<T, W> operator+(Vec<T, W> a, Vec<T, W> b) { return {a.raw + b.raw}; }
MK_VEC Vec<T, W> operator-(Vec<T, W> a, Vec<T, W> b) { return {a.raw - b.raw}; }
MK_VEC Vec<T, W> operator*(Vec<T, W> a, Vec<T, W> b) { return {a.raw * b.raw}; }
MK_VEC Vec<T, W> operator/(Vec<T, W> a, Vec<T, W> b) { return {a.raw / b.raw}; }
MK_VEC Vec<T, W> operator-(Vec<T, W> a) { return {-a.raw}; }
MK_VEC auto operator<(Vec<T, W> a, Vec<T, W> b) { return a.raw < b.raw; }
MK_VEC auto operator<=(Vec<T, W> a, Vec<T, W> b) { return a.raw <= b.raw; }
MK_VEC auto operator>(Vec<T, W> a, Vec<T, W> b) { return a.raw > b.raw; }
MK_VEC auto operator>=(Vec<T, W> a, Vec<T, W> b) { return a.raw >= b.raw; }
MK_VEC auto operator==(Vec<T, W> a, Vec<T, W> b) { return a.raw == b.raw; }

MK_VEC auto bits(Vec<T, W> v) { return (typename Vec<T, W>::RawInt)v.raw; }
MK_VEC Vec<T, W> select(typename Vec<T, W>::RawInt m, Vec<T, W> a, Vec<T, W> b) { return {m ? a.raw : b.raw}; }
MK_VEC Vec<T, W> abs(Vec<T, W> v) {
  constexpr auto sign = static_cast<typename IntOf<T>::type>(~(uint64_t{1} << (8 * sizeof(T) - 1)));
  return from_bits<Vec<T, W>>(bits(v) & sign);
}

// GCC 12 does not turn a lanewise loop over __builtin_fma or __builtin_sqrt into one instruction at every width, so
// these two name it where the width is the machine's own; any other width goes through the loop.
MK_VEC Vec<T, W> fma(Vec<T, W> a, Vec<T, W> b, Vec<T, W> c) {
#ifdef MK_HAS_FMA
#if defined(__AVX512F__)
  if constexpr (sizeof(T) * W == 64 && sizeof(T) == 4) return {_mm512_fmadd_ps(a.raw, b.raw, c.raw)};
  if constexpr (sizeof(T) * W == 64 && sizeof(T) == 8) return {_mm512_fmadd_pd(a.raw, b.raw, c.raw)};
#endif
#if defined(__AVX2__)
  if constexpr (sizeof(T) * W == 32 && sizeof(T) == 4) return {_mm256_fmadd_ps(a.raw, b.raw, c.raw)};
  if constexpr (sizeof(T) * W == 32 && sizeof(T) == 8) return {_mm256_fmadd_pd(a.raw, b.raw, c.raw)};
#endif
  Vec<T, W> r;
  for (int i = 0; i < W; ++i) r.raw[i] = fma(a.raw[i], b.raw[i], c.raw[i]);
  return r;
#else
  return {a.raw * b.raw + c.raw};
#endif
}
MK_VEC Vec<T, W> sqrt(Vec<T, W> v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) * W == 64 && sizeof(T) == 4) return {_mm512_sqrt_ps(v.raw)};
  if constexpr (sizeof(T) * W == 64 && sizeof(T) == 8) return {_mm512_sqrt_pd(v.raw)};
#endif
#if defined(__AVX2__)
  if constexpr (sizeof(T) * W == 32 && sizeof(T) == 4) return {_mm256_sqrt_ps(v.raw)};
  if constexpr (sizeof(T) * W == 32 && sizeof(T) == 8) return {_mm256_sqrt_pd(v.raw)};
#endif
#if defined(__SSE2__)
  if constexpr (sizeof(T) * W == 16 && sizeof(T) == 4) return {_mm_sqrt_ps(v.raw)};
  if constexpr (sizeof(T) * W == 16 && sizeof(T) == 8) return {_mm_sqrt_pd(v.raw)};
#endif
  Vec<T, W> r;
  for (int i = 0; i < W; ++i) r.raw[i] = sqrt(v.raw[i]);
  return r;
}

// a < b ? a : b and a > b ? a : b: NaN in b propagates.
MK_VEC Vec<T, W> lesser(Vec<T, W> a, Vec<T, W> b) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) * W == 64 && sizeof(T) == 4) return {_mm512_min_ps(a.raw, b.raw)};
#endif
#if defined(__AVX2__)
  if constexpr (sizeof(T) * W == 32 && sizeof(T) == 4) return {_mm256_min_ps(a.raw, b.raw)};
#endif
  return select(a < b, a, b);
}
MK_VEC Vec<T, W> greater(Vec<T, W> a, Vec<T, W> b) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) * W == 64 && sizeof(T) == 4) return {_mm512_max_ps(a.raw, b.raw)};
#endif
#if defined(__AVX2__)
  if constexpr (sizeof(T) * W == 32 && sizeof(T) == 4) return {_mm256_max_ps(a.raw, b.raw)};
#endif
  return select(a > b, a, b);
}

// y 2^n of floats, rounded once: n is a whole number, given twice, |n| <= 253, and |y| in [1/2, 2].
template <int W>
MK_INLINE Vec<float, W> times_power_of_two(Vec<float, W> y, [[maybe_unused]] Vec<float, W> n,
                                           [[maybe_unused]] typename Vec<float, W>::RawInt integer) {
#if defined(__AVX512F__)
  if constexpr (W == 16) return {_mm512_scalef_ps(y.raw, n.raw)};
#endif
  return scaled_in_two_steps(y, integer);
}

template <class T, int W, class F>
MK_INLINE Vec<T, W> map(Vec<T, W> v, F f) {
  Vec<T, W> r;
  for (int i = 0; i < W; ++i) r.raw[i] = f(v.raw[i]);
  return r;
}
template <class T, int W, class F>
MK_INLINE Vec<T, W> map(Vec<T, W> a, Vec<T, W> b, F f) {
  Vec<T, W> r;
  for (int i = 0; i < W; ++i) r.raw[i] = f(a.raw[i], b.raw[i]);
  return r;
}

// The sum over the lanes as a balanced tree: halves are added until one lane is left.
MK_VEC T lane_sum(Vec<T, W> v) {
  if constexpr (W == 1) {
    return v.raw[0];
  } else {
    Vec<T, W / 2> low, high;
    __builtin_memcpy(&low.raw, &v.raw, sizeof low.raw);
    __builtin_memcpy(&high.raw, reinterpret_cast<const char*>(&v.raw) + sizeof low.raw, sizeof high.raw);
    return lane_sum(low + high);
  }
}
#undef MK_VEC

}  // namespace mk::MK_ISA
