// Turns random integers into numbers of a distribution that is not uniform; draw.h says what `shape` holds.
#pragma once
#include "cells/cell.h"
#include "common/lanes.h"
#include "ensemble/program.h"

namespace mk::MK_ISA {

template <class V, int N>
MK_INLINE V horner(V x, const double (&c)[N]) {
  V sum = constant<V>(c[N - 1]);
  for (int k = N - 2; k >= 0; --k) sum = fma(sum, x, constant<V>(c[k]));
  return sum;
}

// The quantile of the standard normal distribution at 1/2 + q: algorithm AS 241, PPND16 (Wichura 1988), relative error
// about 1e-16 in double.  |q| is kept below 1/2 by 2^-25, which is 5.4 standard deviations.
template <class V>
MK_INLINE V normal_quantile(V q) {
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
  const V zero = constant<V>(0), size = abs(q);
  const V near = fma(-q, q, constant<V>(0.180625));
  const V middle = q * horner(near, a) / horner(near, b);
  const V left = constant<V>(0.5) - size, least = constant<V>(0x1p-25);
  const V root = sqrt(-log(select(left < least, least, left))) - constant<V>(1.6);
  const V tail = horner(root, c) / horner(root, d);
  return select(size <= constant<V>(0.425), middle, select(q < zero, -tail, tail));
}

// The chances of the first digits, to the three decimals of the published generator.
template <class V>
MK_INLINE V benford(V share, const Real<V>* shape) {
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
  const V count = splat<V>(shape[3]), half = constant<V>(0.5);
  const V other = round_half_even((share - start) / chance * count - half);  // floor, but for whole numbers
  const V last = count - constant<V>(1), zero = constant<V>(0);
  return fma(digit, splat<V>(shape[2]), splat<V>(shape[4]) + clamp(other, zero, last));
}

template <class R>
__attribute__((noinline)) void distribute(Distribution kind, int batch, R* values, const R* shape) {
  using V = Pack<R>;
  const V step = splat<V>(shape[0]), shift = splat<V>(shape[1]);
  for (int s = 0; s < batch; s += Number<V>::width) {
    const V share = fma(V::load(values + s), step, shift);
    if (kind == Distribution::benford) {
      benford(share, shape).store(values + s);
      continue;
    }
    const V sd = splat<V>(shape[3]), zero = constant<V>(0);
    const V x = clamp(fma(normal_quantile(share), sd, splat<V>(shape[2])), splat<V>(shape[4]), splat<V>(shape[5]));
    select(x == zero, sd * step, x).store(values + s);  // a divisor of 0 would end a run
  }
}

}  // namespace mk::MK_ISA
