// Real neural power unit (Heim et al. 2020), weights w and gates g:
//   h_i = clamp(g_i, 0, 1),  r_i = h_i (|x_i| + eps) + 1 - h_i,  k_i = pi h_i [x_i < 0]
//   z = E cos B,  E = exp(sum_i w_i ln r_i),  B = sum_i w_i k_i
//   dz/dw_i = E (cos B ln r_i - sin B k_i)
//   dz/dh_i = E w_i (cos B q_i - sin B pi [x_i < 0]),  q_i = (|x_i| + eps - 1) / r_i
//   dz/dx_i = E cos B w_i h_i sign(x_i) / r_i
// B is carried in half turns.  With constant signs B is a constant of the step: its sine and cosine are taken once per
// step, and the sums over the samples need only E ln r_i, E q_i and E.
// With Domain::normal every r_i is taken to be a normal number, as it is for a gate in [0, 1].
#pragma once
#include "cells/cell.h"

namespace mk::MK_ISA {

template <Signs signs_kind, Domain domain = Domain::any>
struct RealNpu : PlainWeights {
  static constexpr bool mixed = signs_kind == Signs::mixed;
  static constexpr int parameters(int n) { return 2 * n; }
  static constexpr int groups = 2;
  static constexpr int group(int n, int k) { return k < n ? 0 : 1; }
  // mixed: w, h, w h;  constant: w, h, [x < 0], then cos B, sin B
  static constexpr int derived(int n) { return mixed ? 3 * n : 3 * n + 2; }
  // ln r, r and n unused (or q and h sign(x) / r, see inputs), then E cos B, E sin B (mixed) or E (constant)
  static constexpr int saved(int n) { return 3 * n + 2; }
  static constexpr int gradients(int n) { return mixed ? 2 * n : 2 * n + 1; }

  template <Mode, class V>
  static MK_INLINE void prepare(int n, CellOptions<Real<V>>, const V* signs, const V* p, V* d) {
    V turns = constant<V>(0);
    for (int i = 0; i < n; ++i) {
      d[i] = p[i];
      d[n + i] = clamp(p[n + i], constant<V>(0), constant<V>(1));
      d[2 * n + i] = d[i] * d[n + i];
      if constexpr (!mixed) {
        turns = fma(d[2 * n + i], signs[i], turns);
        d[2 * n + i] = signs[i];
      }
    }
    if constexpr (!mixed) {
      const auto angle = sincospi(turns);
      d[3 * n] = angle.cos;
      d[3 * n + 1] = angle.sin;
    }
  }

  // not h (|x| + eps - 1) + 1: that rounds |x| to multiples of 2^-24, and with it ln r near x = 0
  template <class V>
  static MK_INLINE V ratio(CellOptions<Real<V>> options, V x, V h) {
    return fma(h, abs(x) + splat<V>(options.epsilon), constant<V>(1) - h);
  }
  template <class V>
  static MK_INLINE void add_input(int n, int i, const V* x, const V* d, const V* s, V& power, V& turns) {
    power = fma(d[i], s[i], power);
    if constexpr (mixed) turns = turns + select(x[i] < constant<V>(0), d[2 * n + i], constant<V>(0));
  }
  template <class V>
  static MK_INLINE V finished(int n, const V* d, V* s, V power, V turns) {
    const V e = exp(power);
    if constexpr (mixed) {
      const auto angle = sincospi(turns);
      s[3 * n] = e * angle.cos;
      s[3 * n + 1] = e * angle.sin;
      return s[3 * n];
    } else {
      s[3 * n] = e;
      return e * d[3 * n];
    }
  }

  template <Mode, class V>
  static MK_INLINE V forward(int n, CellOptions<Real<V>> options, const V* x, const V* d, V* s) {
    V power = constant<V>(0), turns = constant<V>(0);
    for (int i = 0; i < n; ++i) {
      s[n + i] = ratio(options, x[i], d[n + i]);
      s[i] = logarithm<domain>(s[n + i]);
      add_input(n, i, x, d, s, power, turns);
    }
    return finished(n, d, s, power, turns);
  }

  static constexpr int of_inputs(int n) { return 3 * n; }
  template <bool inverted, class V>
  static MK_INLINE void inputs(int n, CellOptions<Real<V>> options, const V* x, const V* d, V* s) {
    for (int i = 0; i < n; ++i) {
      const V r = ratio(options, x[i], d[n + i]);
      s[i] = logarithm<domain>(r);
      s[n + i] = inverted ? (abs(x[i]) + splat<V>(options.epsilon - 1)) / r : r;
      if constexpr (inverted) s[2 * n + i] = d[n + i] * sign(x[i]) / r;
    }
  }
  template <class V>
  static MK_INLINE V output(int n, const V* x, const V* d, V* s) {
    V power = constant<V>(0), turns = constant<V>(0);
    for (int i = 0; i < n; ++i) add_input(n, i, x, d, s, power, turns);
    return finished(n, d, s, power, turns);
  }

  template <bool Dx, bool inverted = false, class V>
  static MK_INLINE void backward(int n, CellOptions<Real<V>> options, const V* x, const V* d, const V* s, V dz, V* g,
                                 V* dx) {
    const V shift = splat<V>(options.epsilon - 1), zero = constant<V>(0), half_turn = constant<V>(pi);
    const V cosine = dz * s[3 * n];
    if constexpr (mixed) {
      const V across = dz * s[3 * n + 1], sine = across * half_turn;
      for (int i = 0; i < n; ++i) {
        const auto negative = x[i] < zero;
        // pi E is perhaps beyond the largest number where pi h E is not
        const V turn = select(is_finite(sine), d[n + i] * sine, half_turn * d[n + i] * across);
        g[i] = fma(cosine, s[i], g[i]) - select(negative, turn, zero);
        if constexpr (inverted) {
          g[n + i] = fma(cosine, s[n + i], g[n + i]);
          if constexpr (Dx) dx[i] = product_of(cosine, d[i], s[2 * n + i]);
        } else {
          const V inverse = constant<V>(1) / s[n + i], excess = abs(x[i]) + shift, ahead = cosine * excess;
          const auto fits =
              is_finite(ahead);  // E (|x| - 1) is perhaps beyond the largest number, E (|x| - 1) / r hardly
          g[n + i] = fma(select(fits, ahead, cosine), select(fits, inverse, excess * inverse), g[n + i]);
          if constexpr (Dx) dx[i] = product_of(cosine, d[2 * n + i] * sign(x[i]), inverse);
        }
        g[n + i] = g[n + i] - select(negative, sine, zero);
      }
    } else {
      static_assert(!Dx, "layers use mixed signs");
      for (int i = 0; i < n; ++i) {
        g[i] = fma(cosine, s[i], g[i]);
        g[n + i] = fma(cosine, (abs(x[i]) + shift) / s[n + i], g[n + i]);
      }
      g[2 * n] = g[2 * n] + cosine;
    }
  }

  // Of a sum that is beyond the largest number a weight of 0 takes 0.
  template <class V>
  static MK_INLINE V weighted(V w, V sum) {
    const V zero = constant<V>(0);
    return select(is_finite(sum), w * sum, select(w == zero, select(sum == sum, zero, sum), w * sum));
  }

  // The clamp of the gate passes gradient inside [0, 1], its ends included, and none outside.
  template <class V>
  static MK_INLINE void finish(int n, const V* p, const V* d, const V* g, V* dp) {
    for (int i = 0; i < n; ++i) {
      V dw = g[i], dh = g[n + i];
      if constexpr (!mixed) {
        const V sine = d[3 * n + 1] * g[2 * n] * constant<V>(pi) * d[2 * n + i];
        dw = fma(d[3 * n], dw, -(d[n + i] * sine));
        dh = fma(d[3 * n], dh, -sine);
      }
      const V gate = p[n + i];
      const V inside =
          select(gate >= constant<V>(0), select(gate <= constant<V>(1), weighted(d[i], dh), constant<V>(0)),
                 select(gate == gate, constant<V>(0), gate));
      dp[i] = dw;
      dp[n + i] = inside;
    }
  }
};

}  // namespace mk::MK_ISA
