// The number concept for one lane: float and double behave as packs of width 1 do (see vec.h), so that the cells of
// csrc/cells compile for a CPU pack, a CUDA thread and an emulated CUDA thread from the same source.
//
// The concept, for a number type V:
//   Real<V>                       the type of one lane; splat<V>(r) repeats r in every lane
//   + - * / < <= > >= ==          lanewise; comparisons give a Mask<V>
//   fma(a, b, c)                  a * b + c; rounded once where MK_HAS_FMA is defined
//   abs, sqrt, select(m, a, b)    select takes a where m holds, else b
//   lesser, greater               a < b ? a : b and a > b ? a : b, so that NaN in b propagates
//   bits(v), from_bits<V>(b)      the representation as Bits<V>, 32-bit integers (float only)
// Nothing here may be contracted or reassociated by the compiler: the build passes -ffp-contract=off / -fmad=false.
#pragma once
#include <cstdint>

#if defined(__CUDACC__)
#define MK_INLINE __device__ __forceinline__
#define MK_UNROLL _Pragma("unroll")  // before a loop over an array that shall stay in registers
#define MK_HAS_FMA 1
#else
#define MK_INLINE inline __attribute__((always_inline))
#define MK_UNROLL
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(MK_EMULATOR)
#define MK_HAS_FMA 1
#endif
#endif

namespace mk::MK_ISA {

// Of a number type: Real, Mask, Bits, width, and what makes one from something else.
template <class V>
struct Number;

template <class T, class I>
struct ScalarNumber {
  using Real = T;
  using Mask = bool;
  using Bits = I;
  static constexpr int width = 1;
  static MK_INLINE T splat(T r) { return r; }
  static MK_INLINE T to_real(int32_t i) { return static_cast<T>(i); }
  static MK_INLINE T from_bits(I b) {
#if defined(__CUDA_ARCH__)
    return __int_as_float(b);
#else
    T v;
    __builtin_memcpy(&v, &b, sizeof v);
    return v;
#endif
  }
  static MK_INLINE uint32_t unsigned_bits(I b) { return static_cast<uint32_t>(b); }
};
template <>
struct Number<float> : ScalarNumber<float, int32_t> {};
template <>
struct Number<double> : ScalarNumber<double, int64_t> {};

template <class V>
using Real = typename Number<V>::Real;
template <class V>
using Mask = typename Number<V>::Mask;
template <class V>
using Bits = typename Number<V>::Bits;

template <class V>
MK_INLINE V splat(Real<V> r) {
  return Number<V>::splat(r);
}
template <class V, class I>
MK_INLINE V from_bits(I b) {
  return Number<V>::from_bits(b);
}
// Representations as unsigned integers, whose arithmetic goes round at the ends; 32 bits, as Bits of float.
template <class V, class B>
MK_INLINE auto unsigned_bits(B b) {
  return Number<V>::unsigned_bits(b);
}
// The nearest real to a 32-bit integer.
template <class V, class I>
MK_INLINE V to_real(I i) {
  return Number<V>::to_real(i);
}

#ifdef MK_HAS_FMA
MK_INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
MK_INLINE double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
#else
MK_INLINE float fma(float a, float b, float c) { return a * b + c; }
MK_INLINE double fma(double a, double b, double c) { return a * b + c; }
#endif
MK_INLINE float abs(float v) { return __builtin_fabsf(v); }
MK_INLINE double abs(double v) { return __builtin_fabs(v); }
MK_INLINE float sqrt(float v) { return __builtin_sqrtf(v); }
MK_INLINE double sqrt(double v) { return __builtin_sqrt(v); }
MK_INLINE float select(bool m, float a, float b) { return m ? a : b; }
MK_INLINE double select(bool m, double a, double b) { return m ? a : b; }

MK_INLINE float lesser(float a, float b) { return a < b ? a : b; }
MK_INLINE double lesser(double a, double b) { return a < b ? a : b; }
MK_INLINE float greater(float a, float b) { return a > b ? a : b; }
MK_INLINE double greater(double a, double b) { return a > b ? a : b; }

MK_INLINE int32_t bits(float v) {
#if defined(__CUDA_ARCH__)
  return __float_as_int(v);
#else
  int32_t b;
  __builtin_memcpy(&b, &v, sizeof b);
  return b;
#endif
}

// y 2^n by two factors, because 2^n itself leaves the normal range at both ends.
template <class V>
MK_INLINE V scaled_in_two_steps(V y, Bits<V> n) {
  const auto half = n >> 1;
  const V low = from_bits<V>((Bits<V>)(unsigned_bits<V>(half + 127) << 23));
  const V high = from_bits<V>((Bits<V>)(unsigned_bits<V>(n - half + 127) << 23));
  return y * low * high;
}
// y 2^n, n given as a real as well: some packs have an instruction for it (vec.h).
MK_INLINE float times_power_of_two(float y, float, int32_t n) { return scaled_in_two_steps(y, n); }

// Scalar functions of libm, lane by lane, for double.
template <class F>
MK_INLINE double map(double v, F f) {
  return f(v);
}
template <class F>
MK_INLINE double map(double a, double b, F f) {
  return f(a, b);
}

}  // namespace mk::MK_ISA
