// Neural multiplicative reciprocal unit (Mistry et al. 2021) on u = [x, v]:
//   v_i = 1 / (x_i + eps) in training, 1 / x_i in evaluation;   B = pi sum_k w_k [u_k < 0]
//   with sign retrieval   z = M cos B,  M = prod_k f_k,  f_k = |u_k| w_k + 1 - w_k
//     dz/dw_k = (|u_k| - 1) cos B prod_{j != k} f_j - pi [u_k < 0] M sin B
//   without               z = prod_k f_k,  f_k = u_k w_k + 1 - w_k;   dz/dw_k = (u_k - 1) prod_{j != k} f_j
//   and dv_i/dx_i = -v_i^2.
// A factor is evaluated as (u w + 1) - w: for w of 0 and 1 that rounds as the original does.
#pragma once
#include "cells/cell.h"

namespace mk::MK_ISA {

template <bool retrieval, Signs signs_kind>
struct Nmru : OneGroup {
  static constexpr int weights(int n) { return 2 * n; }
  static_assert(retrieval || signs_kind == Signs::mixed, "without retrieval the signs need no constant");
  static constexpr bool mixed = signs_kind == Signs::mixed;
  static constexpr int parameters(int n) { return 2 * n; }
  // w; with constant signs then [x < 0] per input, cos B, sin B
  static constexpr int derived(int n) { return mixed ? 2 * n : 3 * n + 2; }
  static constexpr int saved(int n) { return 5 * n + 2; }  // factors 2n, prefix products 2n, v n, cos B, M sin B or M
  static constexpr int gradients(int n) { return mixed ? 2 * n : 2 * n + 1; }

  template <Mode, class V>
  static MK_INLINE void prepare(int n, CellOptions<Real<V>>, const V* signs, const V* p, V* d) {
    V turns = constant<V>(0);
    for (int k = 0; k < 2 * n; ++k) {
      d[k] = p[k];
      if constexpr (!mixed) turns = fma(p[k], signs[k % n], turns);
    }
    if constexpr (!mixed) {
      for (int i = 0; i < n; ++i) d[2 * n + i] = signs[i];
      const auto angle = sincospi(turns);
      d[3 * n] = angle.cos;
      d[3 * n + 1] = angle.sin;
    }
  }

  template <class V>
  static MK_INLINE V strength(V u) {
    if constexpr (retrieval) return abs(u);
    return u;
  }

  template <Mode mode, class V>
  static MK_INLINE V forward(int n, CellOptions<Real<V>> options, const V* x, const V* d, V* s) {
    const V zero = constant<V>(0), one = constant<V>(1);
    V z = one, turns = zero;
    V* v = s + 4 * n;
    for (int i = 0; i < n; ++i) v[i] = one / (mode == Mode::training ? x[i] + splat<V>(options.epsilon) : x[i]);
    for (int k = 0; k < 2 * n; ++k) {
      const V u = k < n ? x[k] : v[k - n];
      V product = fma(strength(u), d[k], one);
      // in training eps keeps 1 / (x + eps) in the range of numbers; 1 / x may be beyond it where w / x is not
      if constexpr (mode == Mode::evaluation)
        if (k >= n) product = select(is_finite(u), product, d[k] / strength(x[k - n]) + one);
      s[k] = product - d[k];
      s[2 * n + k] = z;
      z = z * s[k];
      if constexpr (retrieval && mixed) turns = turns + select(u < zero, d[k], zero);
    }
    if constexpr (!retrieval) return z;
    if constexpr (!mixed) {
      s[5 * n] = z;
      return z * d[3 * n];
    } else {
      const auto angle = sincospi(turns);
      s[5 * n] = angle.cos;
      s[5 * n + 1] = z * angle.sin;
      return z * angle.cos;
    }
  }

  template <bool Dx, class V>
  static MK_INLINE void backward(int n, CellOptions<Real<V>>, const V* x, const V* d, const V* s, V dz, V* g, V* dx) {
    const V zero = constant<V>(0), one = constant<V>(1);
    const V* v = s + 4 * n;
    V suffix = dz, sine = zero;
    if constexpr (retrieval && mixed) {
      suffix = dz * s[5 * n];
      sine = dz * s[5 * n + 1] * constant<V>(pi);
    }
    for (int k = 2 * n - 1; k >= 0; --k) {
      const int i = k < n ? k : k - n;
      const V u = k < n ? x[i] : v[i];
      const V others = suffix * s[2 * n + k];
      g[k] = fma(others, strength(u) - one, g[k]);
      if constexpr (retrieval && mixed) g[k] = g[k] - select(u < zero, sine, zero);
      if constexpr (Dx) {
        V du = others * d[k];
        if constexpr (retrieval) du = du * sign(u);
        dx[i] = k < n ? dx[i] + du : select(du == zero, zero, -(du * v[i] * v[i]));
      }
      suffix = suffix * s[k];
    }
    if constexpr (!mixed) g[2 * n] = fma(dz, s[5 * n], g[2 * n]);
  }

  template <class V>
  static MK_INLINE void finish(int n, const V*, const V* d, const V* g, V* dp) {
    for (int k = 0; k < 2 * n; ++k) {
      V dw = g[k];
      if constexpr (!mixed) dw = fma(d[3 * n], dw, -(d[3 * n + 1] * g[2 * n] * constant<V>(pi) * d[2 * n + k % n]));
      dp[k] = dw;
    }
  }
};

}  // namespace mk::MK_ISA
