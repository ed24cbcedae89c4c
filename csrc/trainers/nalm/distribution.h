// Turns random integers into numbers of a distribution that is not uniform; draw.h says what `shape` holds.
#pragma once
#include "cells/cell.h"
#include "common/lanes.h"
#include "trainers/nalm/program.h"

namespace mk::MK_ISA {

template <class V, int N>
MK_INLINE V horner(V x, const double (&c)[N]) {
  V sum = constant<V>(c[N - 1]);
  for (int k = N - 2; k >= 0; --k) sum = fma(sum, x, constant<V>(c[k]));
  return sum;
}

// The quantile of the standard normal distribution at 1/2 + q: algorithm AS 241, PPND16 (Wichura 1988), relative error
// about 1e-16 in double.  `tail` is 1/2 - |q|, given apart because it is precise where it is small; it is kept at
// 2^-36 (6.7 standard deviations) or more, so the third range of the algorithm, below 1.4e-11, is not needed.
template <class V>
MK_INLINE V normal_quantile(V q, V tail) {
  constexpr double a[] = {3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
                          1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
                          3.3430575583588128105e4, 2.5090809287301226727e3};
  constexpr double b[] = {1.0,
                          4.2313330701600911252e1,
                          6.8718700749205790830e2,
                          5.3941960214247511077e3,
                          2.1213794301586595867e4,
                          3.9307895800092710610e4,
                          2.8729085735721942674e4,
                          5.2264952788528545610e3};
  constexpr double c[] = {1.42343711074968357734e0,  4.63033784615654529590e0, 5.76949722146069140550e0,
                          3.64784832476320460504e0,  1.27045825245236838258e0, 2.41780725177450611770e-1,
                          2.27238449892691845833e-2, 7.74545014278341407640e-4};
  constexpr double d[] = {1.0,
                          2.05319162663775882187e0,
                          1.67638483018380384940e0,
                          6.89767334985100004550e-1,
                          1.48103976427480074590e-1,
                          1.51986665636164571966e-2,
                          5.47593808499534494600e-4,
                          1.05075007164441684324e-9};
  const V zero = constant<V>(0), least = constant<V>(0x1p-36);
  const V near = fma(-q, q, constant<V>(0.180625));
  const V middle = q * horner(near, a) / horner(near, b);
  const V root = sqrt(-log(select(tail < least, least, tail))) - constant<V>(1.6);
  const V outer = horner(root, c) / horner(root, d);
  return select(abs(q) <= constant<V>(0.425), middle, select(q < zero, -outer, outer));
}

// The chances of the first digits, to the three decimals of the published generator.
template <class V>
MK_INLINE V benford(V share, const double* shape) {
  constexpr double chances[] = {0.301, 0.176, 0.125, 0.097, 0.079, 0.067, 0.058, 0.051, 0.046};
  V digit = constant<V>(1), start = constant<V>(0), chance = constant<V>(chances[0]);
  double below = 0;
  for (int k = 1; k < 9; ++k) {
    below += chances[k - 1];
    const auto beyond = share >= constant<V>(below);
    digit = select(beyond, constant<V>(k + 1), digit);
    start = select(beyond, constant<V>(below), start);
    chance = select(beyond, constant<V>(chances[k]), chance);
  }
  const V count = constant<V>(shape[3]), half = constant<V>(0.5);
  const V other = round_half_even((share - start) / chance * count - half);  // floor, but for whole numbers
  const V last = count - constant<V>(1), zero = constant<V>(0);
  return fma(digit, constant<V>(shape[2]), constant<V>(shape[4]) + clamp(other, zero, last));
}

// Numbers of a truncated normal of the random integers k.  Each of the three places where precision is at stake counts
// them from an integer of its own, as floats hold only 24 of their 31 bits: the middle from probability 1/2, the tails
// from the nearer end, and what is near x = 0 from probability P0 of numbers below 0.  There the quantile is a power
// series in u = (P - P0) / density, without the difference mean + sd * z that would leave only multiples of mean *
// 2^-24.
template <class R>
struct TruncatedNormal {
  using V = Pack<R>;
  using K = Bits<V>;
  using Integer = typename IntOf<R>::type;
  static constexpr int first_term = 13, terms = shape_numbers - first_term;
  V number[shape_numbers];
  Integer middle, zero_place;

  MK_INLINE explicit TruncatedNormal(const double* shape)
      : middle(static_cast<Integer>(static_cast<int64_t>(shape[1]))),
        zero_place(static_cast<Integer>(static_cast<int64_t>(shape[9]))) {
    for (int n = 0; n < shape_numbers; ++n) number[n] = constant<V>(shape[n]);
  }

  MK_INLINE V operator()(K k) const {
    constexpr Integer last = 0x7fffffff;
    const V step = number[0], zero = constant<V>(0);
    const V q = fma(to_real<V>(k - middle), step, number[2]);
    const V tail = select(q < zero, fma(to_real<V>(k), step, number[3]), fma(to_real<V>(last - k), step, number[4]));
    const V far = fma(normal_quantile(q, tail), number[6], number[5]);
    const V from_zero = fma(to_real<V>(k - zero_place), step, number[10]), u = from_zero * number[12];
    V series = number[first_term + terms - 1];
    for (int n = terms - 2; n >= 0; --n) series = fma(series, u, number[first_term + n]);
    const V x = select(abs(from_zero) <= number[11], series * u, far);
    return clamp(x, number[7], number[8]);
  }
};

// The integers, in the bits of `values`, become the numbers.
template <class R>
__attribute__((noinline)) void distribute(Distribution kind, int batch, R* values, const double* shape) {
  using V = Pack<R>;
  if (kind == Distribution::benford) {
    const V step = constant<V>(shape[0]), shift = constant<V>(shape[1]);
    for (int s = 0; s < batch; s += Number<V>::width)
      benford(fma(to_real<V>(bits(V::load(values + s))), step, shift), shape).store(values + s);
    return;
  }
  const TruncatedNormal<R> normal(shape);
  for (int s = 0; s < batch; s += Number<V>::width) normal(bits(V::load(values + s))).store(values + s);
}

// Numbers from avoid[0] to avoid[1] become avoid[2].
template <class R>
MK_INLINE void avoid_numbers(int batch, R* values, const R* avoid) {
  using V = Pack<R>;
  const V low = splat<V>(avoid[0]), high = splat<V>(avoid[1]), other = splat<V>(avoid[2]);
  for (int s = 0; s < batch; s += Number<V>::width) {
    const V x = V::load(values + s);
    select(x >= low, select(x <= high, other, x), x).store(values + s);
  }
}

}  // namespace mk::MK_ISA
