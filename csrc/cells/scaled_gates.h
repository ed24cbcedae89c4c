// The functions of an LSTM's gates for training of small models, where they cost as much as the products: sums arrive
// multiplied by scale(slot), which stands in the weights, and four gates share one division.
//   sigmoid(z) = 1 / (1 + 2^t), t = -z / ln 2        tanh(z) = (1 - 2^t) / (1 + 2^t), t = -2 z / ln 2
// In float a polynomial of degree 5 gives 2^t to 2.4e-7 of its value, and errors are below 3.5e-7 of 1: unlike those of
// gates.h they are not small beside a tanh near 0.  python_tests/test_seq2seq.py measures the gradients that come of
// it. In double libm gives e^t, whose scale has no 1 / ln 2, and each gate has its own division.
#pragma once
#include "cells/gates.h"

namespace mk::MK_ISA {

struct ScaledGates {
  template <class T>
  static constexpr T scale(int64_t slot) {
    return static_cast<T>((slot == 2 ? -2.0 : -1.0) * (sizeof(T) == sizeof(float) ? 1.44269504088896340736 : 1.0));
  }

  // 2^t, cut off at 2^30, because a product of four 1 + 2^t shall not overflow; in double e^t up to e^700.
  template <class V>
  static MK_INLINE V power(V t) {
    if constexpr (!is_float<V>) {
      return exp(lesser(splat<V>(700.0), t));
    } else {
      // Horner's scheme: neighbouring units and packs fill the time that its chain takes
      constexpr float c[] = {0.693147f, 0.24022242f, 0.055507336f, 0.009671513f, 0.0013264727f};
      const V cut = greater(splat<V>(-126.0f), lesser(splat<V>(30.0f), t));
      const V shifted = cut + splat<V>(round_magic), n = shifted - splat<V>(round_magic), x = cut - n;
      V y = splat<V>(c[4]);
      for (int k = 3; k >= 0; --k) y = fma(y, x, splat<V>(c[k]));
      y = fma(y, x, splat<V>(1.0f));
      return from_bits<V>(bits(y) + (bits(shifted) << 23));  // the low bits of `shifted` are n
    }
  }

  // i, f, g, o
  template <class V>
  static MK_INLINE void all(const V (&sums)[4], V (&gates)[4]) {
    const V one = splat<V>(1);
    V powers[4], d[4];
    for (int k = 0; k < 4; ++k) powers[k] = power(sums[k]);
    for (int k = 0; k < 4; ++k) d[k] = one + powers[k];
    if constexpr (!is_float<V>) {
      for (int k = 0; k < 4; ++k) gates[k] = (k == 2 ? one - powers[k] : one) / d[k];
    } else {
      const V left = d[0] * d[1], right = d[2] * d[3], share = one / (left * right);
      const V of_left = share * right, of_right = share * left;
      gates[0] = of_left * d[1];
      gates[1] = of_left * d[0];
      gates[2] = of_right * d[3] * (one - powers[2]);
      gates[3] = of_right * d[2];
    }
  }

  // Of a cell's state, which is not scaled.
  template <class V>
  static MK_INLINE V tanh_of_state(V c) {
    const V one = splat<V>(1), p = power(c * splat<V>(scale<Real<V>>(2)));
    return (one - p) / (one + p);
  }
};

}  // namespace mk::MK_ISA
