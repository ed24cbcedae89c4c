// The two functions of recurrent gates, made cheap: no special cases, and two gates share one division.
//
// Errors are against the exact value, in ULP of it, with FMA and without; python_tests/test_math.py reads this table
// and asserts it.  A gate is measured alone and beside the other of its division, which may be of any size.
//
//   gate_sigmoid           7     7   and another |x| where x < 0, as the rounded exponent allows; below -41.5 it stays
//                                    at 2^-60
//   gate_sigmoid_by_tanh   7     7   likewise
//   gate_tanh_by_sigmoid   7     7   all x, near 0 as well; 1 beyond |x| = 10.4
//   gate_tanh              6     6   likewise
//
// For double both are those of common/math.h.
#pragma once
#include "common/math.h"

namespace mk::MK_ISA {

// 2^x = scale (1 + fraction) for |x| <= 126, the fraction with a small relative error near 0.
template <class V>
struct PowerOfTwo {
  V scale, fraction;
};
template <class V>
MK_INLINE PowerOfTwo<V> power_of_two(V x) {
  static_assert(is_float<V>);
  constexpr float c[] = {0.6931471824645996f,   0.24022649228572845f,   0.05550357326865196f,
                         0.009618237614631653f, 0.0013390735257416964f, 0.00015403512225020677f};
  // the sum's last bits are the whole number x is nearest to, plus the 127 that an exponent is stored with
  const V magic = splat<V>(round_magic + 127.0f), shifted = x + magic, r = x - (shifted - magic);
  return {from_bits<V>((Bits<V>)(unsigned_bits<V>(bits(shifted)) << 23)), r * polynomial(r, c)};
}

// A number limited to [-bound, bound]; a NaN stays.
template <class V>
MK_INLINE V limited(V x, float bound) {
  return greater(splat<V>(-bound), lesser(splat<V>(bound), x));
}

// A fraction that waits for its division.
template <class V>
struct Fraction {
  V numerator, denominator;
};

// 1 / (1 + 2^(-x log2 e)); the bound keeps products of two denominators finite.
template <class V>
MK_INLINE Fraction<V> sigmoid_fraction(V x) {
  const auto e = power_of_two(limited(x * splat<V>(-1.44269504088896341f), 60.0f));
  return {splat<V>(1.0f), fma(e.scale, e.fraction, e.scale) + splat<V>(1.0f)};
}

// (2^(2 x log2 e) - 1) / (2^(2 x log2 e) + 1), the numerator without cancellation near 0.
template <class V>
MK_INLINE Fraction<V> tanh_fraction(V x) {
  const auto e = power_of_two(limited(x * splat<V>(2.88539008177792681f), 30.0f));
  const V numerator = fma(e.scale, e.fraction, e.scale - splat<V>(1.0f));
  return {numerator, numerator + splat<V>(2.0f)};
}

template <class V>
struct Two {
  V first, second;
};
// Both quotients by one division.
template <class V>
MK_INLINE Two<V> divided(Fraction<V> a, Fraction<V> b) {
  const V r = splat<V>(1.0f) / (a.denominator * b.denominator);
  return {a.numerator * (r * b.denominator), b.numerator * (r * a.denominator)};
}

template <class V>
MK_INLINE V gate_tanh(V x) {
  if constexpr (!is_float<V>)
    return tanh(x);
  else {
    const auto f = tanh_fraction(x);
    return f.numerator / f.denominator;
  }
}

template <class V>
MK_INLINE Two<V> gate_sigmoids(V x, V y) {
  if constexpr (!is_float<V>)
    return {sigmoid(x), sigmoid(y)};
  else
    return divided(sigmoid_fraction(x), sigmoid_fraction(y));
}

template <class V>
MK_INLINE Two<V> gate_sigmoid_and_tanh(V x, V y) {
  if constexpr (!is_float<V>)
    return {sigmoid(x), tanh(y)};
  else
    return divided(sigmoid_fraction(x), tanh_fraction(y));
}

// The four gates of an LSTM, in two divisions, and the function of its state.
struct PairedGates {
  template <class V>
  static MK_INLINE void all(const V (&sums)[4], V (&gates)[4]) {
    const auto input_forget = gate_sigmoids(sums[0], sums[1]);
    const auto output_new = gate_sigmoid_and_tanh(sums[3], sums[2]);
    gates[0] = input_forget.first;
    gates[1] = input_forget.second;
    gates[2] = output_new.second;
    gates[3] = output_new.first;
  }
  template <class V>
  static MK_INLINE V tanh_of_state(V c) {
    return gate_tanh(c);
  }
};

}  // namespace mk::MK_ISA
