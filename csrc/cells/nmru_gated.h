// Neural multiplicative reciprocal unit with gates (Mistry et al. 2021), on u = [x, v], v as in nmru.h:
//   z = M cos B,  M = prod_k f_k,  f_k = |g_k u_k| w_k + 1 - w_k,  B = pi sum_k w_k [g_k u_k < 0]
//   dz/dw_k = (|g_k u_k| - 1) cos B prod_{j != k} f_j - pi [g_k u_k < 0] M sin B
//   dz/dg_k = w_k sign(g_k u_k) u_k cos B prod_{j != k} f_j,   dz/du_k likewise with g_k for u_k
// The gates are not clamped here: the optimiser's clamp keeps them in [0, 1].
#pragma once
#include "cells/cell.h"

namespace mk::MK_ISA {

struct NmruGated : PlainWeights {
  static constexpr int weights(int n) { return 2 * n; }
  static constexpr int groups = 2;
  static constexpr int group(int n, int k) { return k < 2 * n ? 0 : 1; }
  static constexpr int parameters(int n) { return 4 * n; }
  static constexpr int derived(int n) { return 4 * n; }    // w, g
  static constexpr int saved(int n) { return 5 * n + 2; }  // factors 2n, prefix products 2n, v n, cos B, M sin B
  static constexpr int gradients(int n) { return 4 * n; }

  template <Mode, class V>
  static MK_INLINE void prepare(int n, CellOptions<Real<V>>, const V*, const V* p, V* d) {
    for (int k = 0; k < 4 * n; ++k) d[k] = p[k];
  }

  template <Mode mode, class V>
  static MK_INLINE V forward(int n, CellOptions<Real<V>> options, const V* x, const V* d, V* s) {
    const V zero = constant<V>(0), one = constant<V>(1);
    V z = one, turns = zero;
    V* v = s + 4 * n;
    for (int i = 0; i < n; ++i) v[i] = one / (mode == Mode::training ? x[i] + splat<V>(options.epsilon) : x[i]);
    for (int k = 0; k < 2 * n; ++k) {
      const V u = (k < n ? x[k] : v[k - n]) * d[2 * n + k];
      s[k] = fma(abs(u), d[k], one) - d[k];
      s[2 * n + k] = z;
      z = z * s[k];
      turns = turns + select(u < zero, d[k], zero);
    }
    const auto angle = sincospi(turns);
    s[5 * n] = angle.cos;
    s[5 * n + 1] = z * angle.sin;
    return z * angle.cos;
  }

  template <bool Dx, class V>
  static MK_INLINE void backward(int n, CellOptions<Real<V>>, const V* x, const V* d, const V* s, V dz, V* g, V* dx) {
    const V zero = constant<V>(0), one = constant<V>(1);
    const V* v = s + 4 * n;
    const V sine = dz * s[5 * n + 1] * constant<V>(pi);
    V suffix = dz * s[5 * n];
    for (int k = 2 * n - 1; k >= 0; --k) {
      const int i = k < n ? k : k - n;
      const V u = k < n ? x[i] : v[i], gated = u * d[2 * n + k];
      const V others = suffix * s[2 * n + k], along = others * d[k] * sign(gated);
      g[k] = fma(others, abs(gated) - one, g[k]) - select(gated < zero, sine, zero);
      g[2 * n + k] = fma(along, u, g[2 * n + k]);
      if constexpr (Dx) {
        const V du = along * d[2 * n + k];
        dx[i] = k < n ? dx[i] + du : select(du == zero, zero, -(du * v[i] * v[i]));
      }
      suffix = suffix * s[k];
    }
  }

  template <class V>
  static MK_INLINE void finish(int n, const V*, const V*, const V* g, V* dp) {
    for (int k = 0; k < 4 * n; ++k) dp[k] = g[k];
  }
};

}  // namespace mk::MK_ISA
