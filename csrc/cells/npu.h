// Neural power unit (Heim et al. 2020), complex weights w + i v and gates g:
//   h_i = clamp(g_i, 0, 1),  r_i = h_i (|x_i| + eps) + 1 - h_i,  k_i = pi h_i [x_i < 0]
//   z = E cos B,  E = exp(sum_i w_i ln r_i - v_i k_i),  B = sum_i w_i k_i + v_i ln r_i
//   dz/dw_i =  E (cos B ln r_i - sin B k_i),   dz/dv_i = -E (cos B k_i + sin B ln r_i)
//   dz/dh_i =  E (cos B (w_i q_i - v_i pi [x_i < 0]) - sin B (w_i pi [x_i < 0] + v_i q_i))
//     with q_i = (|x_i| + eps - 1) / r_i
//   dz/dx_i =  E (cos B w_i - sin B v_i) h_i sign(x_i) / r_i
// B is carried in half turns.  The Real NPU (real_npu.h) is the case v = 0.
#pragma once
#include "cells/cell.h"

namespace mk::MK_ISA {

template <Domain domain = Domain::any>
struct Npu : PlainWeights {
  static constexpr int weights(int n) { return 2 * n; }
  static constexpr int term(int n, int k) { return k / n; }  // the real and the imaginary part
  static constexpr int groups = 3;
  static constexpr int group(int n, int k) { return k / n; }
  static constexpr int parameters(int n) { return 3 * n; }
  static constexpr int derived(int n) { return 5 * n; }  // w, v, h, w h, pi v h
  // ln r, r and n unused (or q and h sign(x) / r, see inputs), then E cos B, E sin B
  static constexpr int saved(int n) { return 3 * n + 2; }
  static constexpr int gradients(int n) { return 3 * n; }

  template <Mode, class V>
  static MK_INLINE void prepare(int n, CellOptions<Real<V>>, const V*, const V* p, V* d) {
    for (int i = 0; i < n; ++i) {
      d[i] = p[i];
      d[n + i] = p[n + i];
      d[2 * n + i] = clamp(p[2 * n + i], constant<V>(0), constant<V>(1));
      d[3 * n + i] = d[i] * d[2 * n + i];
      d[4 * n + i] = constant<V>(pi) * d[n + i] * d[2 * n + i];
    }
  }

  template <class V>
  static MK_INLINE V ratio(CellOptions<Real<V>> options, V x, V h) {
    return fma(h, abs(x) + splat<V>(options.epsilon), constant<V>(1) - h);
  }
  template <class V>
  struct Sums {
    V power = constant<V>(0), turns = constant<V>(0), angle = constant<V>(0);
    MK_INLINE void add_input(int n, int i, const V* x, const V* d, const V* s) {
      const V zero = constant<V>(0);
      power = fma(d[i], s[i], power) - select(x[i] < zero, d[4 * n + i], zero);
      turns = turns + select(x[i] < zero, d[3 * n + i], zero);
      angle = fma(d[n + i], s[i], angle);
    }
    MK_INLINE V finished(int n, V* s) const {
      const V e = exp(power);
      const auto direction = sincospi(fma(angle, constant<V>(1 / pi), turns));
      s[3 * n] = e * direction.cos;
      s[3 * n + 1] = e * direction.sin;
      return s[3 * n];
    }
  };

  template <Mode, class V>
  static MK_INLINE V forward(int n, CellOptions<Real<V>> options, const V* x, const V* d, V* s) {
    Sums<V> sums;
    for (int i = 0; i < n; ++i) {
      s[n + i] = ratio(options, x[i], d[2 * n + i]);
      s[i] = logarithm<domain>(s[n + i]);
      sums.add_input(n, i, x, d, s);
    }
    return sums.finished(n, s);
  }

  static constexpr int of_inputs(int n) { return 3 * n; }
  template <bool inverted, class V>
  static MK_INLINE void inputs(int n, CellOptions<Real<V>> options, const V* x, const V* d, V* s) {
    for (int i = 0; i < n; ++i) {
      const V r = ratio(options, x[i], d[2 * n + i]);
      s[i] = logarithm<domain>(r);
      s[n + i] = inverted ? (abs(x[i]) + splat<V>(options.epsilon - 1)) / r : r;
      if constexpr (inverted) s[2 * n + i] = d[2 * n + i] * sign(x[i]) / r;
    }
  }
  template <class V>
  static MK_INLINE V output(int n, const V* x, const V* d, V* s) {
    Sums<V> sums;
    for (int i = 0; i < n; ++i) sums.add_input(n, i, x, d, s);
    return sums.finished(n, s);
  }

  template <bool Dx, bool inverted = false, class V>
  static MK_INLINE void backward(int n, CellOptions<Real<V>> options, const V* x, const V* d, const V* s, V dz, V* g,
                                 V* dx) {
    const V shift = splat<V>(options.epsilon - 1), zero = constant<V>(0);
    const V cosine = dz * s[3 * n], sine = dz * s[3 * n + 1];
    for (int i = 0; i < n; ++i) {
      const V w = d[i], v = d[n + i], half_turn = select(x[i] < zero, constant<V>(pi), zero);
      const V turn = d[2 * n + i] * half_turn, inverse = inverted ? zero : constant<V>(1) / s[n + i];
      const V steep = inverted ? s[n + i] : (abs(x[i]) + shift) * inverse;  // q
      g[i] = g[i] + fma(cosine, s[i], -(sine * turn));
      g[n + i] = g[n + i] - fma(cosine, turn, sine * s[i]);
      const V real = fma(cosine, w, -(sine * v)), imaginary = fma(cosine, v, sine * w);
      const V by_real = fma(real, steep, -(imaginary * half_turn));  // v q leaves the range where v sin B q does not
      const V by_steep = fma(cosine, fma(w, steep, -(v * half_turn)), -(sine * fma(w, half_turn, v * steep)));
      g[2 * n + i] = g[2 * n + i] + select(is_finite(by_steep), by_steep, by_real);
      if constexpr (Dx && inverted) dx[i] = real * s[2 * n + i];
      if constexpr (Dx && !inverted) dx[i] = product_of(real, d[2 * n + i] * sign(x[i]), inverse);
    }
  }

  // The clamp of the gate passes gradient inside [0, 1], its ends included, and none outside.
  template <class V>
  static MK_INLINE void finish(int n, const V* p, const V*, const V* g, V* dp) {
    for (int k = 0; k < 2 * n; ++k) dp[k] = g[k];
    for (int k = 2 * n; k < 3 * n; ++k)
      dp[k] = select(p[k] >= constant<V>(0), select(p[k] <= constant<V>(1), g[k], constant<V>(0)),
                     select(p[k] == p[k], constant<V>(0), p[k]));
  }
};

}  // namespace mk::MK_ISA
