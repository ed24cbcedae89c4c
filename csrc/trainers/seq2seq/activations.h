// Sigmoids and hyperbolic tangents of an LSTM's gates.
//   sigmoid(z) = 1 / (1 + 2^t), t = -z / ln 2        tanh(z) = (1 - 2^t) / (1 + 2^t), t = -2 z / ln 2
// The factors of z stand in the weights of the forward products already (gate_scale).  In float a polynomial of degree
// 5 gives 2^t to 2.4e-7 of its value; the four gates share one division, which costs more than all else.  Errors are
// below 3.5e-7 of 1; python_tests/test_seq2seq.py measures the gradients that come of it.  In double libm gives 2^t.
#pragma once
#include "common/math.h"
#include "trainers/seq2seq/memory.h"

namespace mk::MK_ISA {

// What the rows of gate i, f, g or o are multiplied by.
template <class T>
constexpr T gate_scale(int64_t gate) {
  return static_cast<T>((gate == 2 ? -2.0 : -1.0) * 1.44269504088896340736);
}

// 2^t, in float cut off at 2^30: a product of four 1 + 2^t shall not overflow.
template <class V>
MK_INLINE V power_of_two(V t) {
  if constexpr (!is_float<V>) {
    return map(t, [](double lane) { return ::exp2(lane); });
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

template <class V>
struct Gates {
  V i, f, g, o;
};
// t: the four gates' arguments, scaled.
template <class V>
MK_INLINE Gates<V> activated(const V (&t)[gates]) {
  const V one = splat<V>(1);
  V power[gates], sum[gates];
  for (int k = 0; k < gates; ++k) power[k] = power_of_two(t[k]);
  for (int k = 0; k < gates; ++k) sum[k] = one + power[k];
  if constexpr (!is_float<V>) return {one / sum[0], one / sum[1], (one - power[2]) / sum[2], one / sum[3]};
  const V left = sum[0] * sum[1], right = sum[2] * sum[3], share = one / (left * right);
  const V of_left = share * right, of_right = share * left;
  return {of_left * sum[1], of_left * sum[0], of_right * sum[3] * (one - power[2]), of_right * sum[2]};
}

template <class V>
MK_INLINE V cell_tanh(V c) {
  if constexpr (!is_float<V>) return tanh(c);
  const V one = splat<V>(1), power = power_of_two(c * splat<V>(gate_scale<Real<V>>(2)));
  return (one - power) / (one + power);
}

}  // namespace mk::MK_ISA
