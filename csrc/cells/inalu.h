// Improved NALU (Schloer, Ring & Hotho 2020): separate weights v, w = tanh(What) sigma(Mhat), a gate that does not see
// the input, limits on both sides of the exponential, and the sign of the product.
//   h = sigma(g),   z = h a + (1 - h) m s
//   a = sum_i v_i x_i,   P = sum_i w_i ln max(|x_i|, eps),   m = exp(min(P, 20))
//   s = prod_i f_i,   f_i = sign(x_i) |w_i| + 1 - |w_i|
//   dv_i = h x_i dz,   dg = (a - m s) h (1 - h) dz
//   dw_i = (1 - h) m (s [P <= 20] ln max(|x_i|, eps) + (sign(x_i) - 1) sign(w_i) prod_{j != i} f_j) dz
//   dx_i = (h v_i + (1 - h) m s [P <= 20] w_i [|x_i| >= eps] sign(x_i) / max(|x_i|, eps)) dz
// sign(x) has no slope, and sign(0) = 0.  A factor is evaluated as (sign(x) - 1) |w| + 1, exact for x > 0.
// The parameters are What and Mhat of v, What and Mhat of w, then g.
#pragma once
#include "cells/weights.h"

namespace mk::MK_ISA {

struct Inalu : PlainWeights {
  using Weight = Weights<WeightForm::tanh_sigmoid>;
  static constexpr int groups = 5;
  static constexpr int group(int n, int k) { return k / n; }
  static constexpr int weights(int n) { return 2 * n; }
  static constexpr int parameters(int n) { return 4 * n + 1; }
  static constexpr int derived(int n) { return 6 * n + 2; }  // v, w, h, h (1 - h), slopes of v, slopes of w
  static constexpr int saved(int n) { return 3 * n + 3; }    // logarithms, factors, prefix products, m, [P <= 20] s, z
  static constexpr int gradients(int n) { return 2 * n + 1; }  // v, w, h

  static constexpr double largest_power = 20;

  template <Mode, class V>
  static MK_INLINE void prepare(int n, CellOptions<Real<V>>, const V*, const V* p, V* d) {
    Weight::prepare(n, p, d, d + 2 * n + 2);
    Weight::prepare(n, p + 2 * n, d + n, d + 4 * n + 2);
    d[2 * n] = sigmoid(p[4 * n]);
    d[2 * n + 1] = d[2 * n] * (constant<V>(1) - d[2 * n]);
  }

  template <Mode, class V>
  static MK_INLINE V forward(int n, CellOptions<Real<V>> options, const V* x, const V* d, V* s) {
    const V one = constant<V>(1), epsilon = splat<V>(options.epsilon), limit = constant<V>(largest_power);
    V a = constant<V>(0), power = a, signs = one;
    for (int i = 0; i < n; ++i) {
      a = fma(d[i], x[i], a);
      const V magnitude = abs(x[i]);
      s[i] = log(select(magnitude < epsilon, epsilon, magnitude));
      power = fma(d[n + i], s[i], power);
      s[n + i] = fma(sign(x[i]) - one, abs(d[n + i]), one);
      s[2 * n + i] = signs;
      signs = signs * s[n + i];
    }
    const auto beyond = power > limit;
    const V m = exp(select(beyond, limit, power)), product = m * signs;
    s[3 * n] = m;
    s[3 * n + 1] = select(beyond, constant<V>(0), product);
    s[3 * n + 2] = a - product;
    return fma(d[2 * n], a, (one - d[2 * n]) * product);
  }

  template <bool Dx, class V>
  static MK_INLINE void backward(int n, CellOptions<Real<V>> options, const V* x, const V* d, const V* s, V dz, V* g,
                                 V* dx) {
    const V zero = constant<V>(0), one = constant<V>(1), epsilon = splat<V>(options.epsilon);
    const V da = dz * d[2 * n], dproduct = dz * (one - d[2 * n]), dpower = dproduct * s[3 * n + 1];
    V suffix = dproduct * s[3 * n];
    for (int i = n - 1; i >= 0; --i) {
      const V others = suffix * s[2 * n + i], w = d[n + i];
      g[i] = fma(da, x[i], g[i]);
      g[n + i] = fma(dpower, s[i], g[n + i]) + others * (sign(x[i]) - one) * sign(w);
      if constexpr (Dx) dx[i] = fma(da, d[i], select(abs(x[i]) < epsilon, zero, quotient_of(dpower, w, x[i])));
      suffix = suffix * s[n + i];
    }
    g[2 * n] = fma(dz, s[3 * n + 2], g[2 * n]);
  }

  // From the last to the first, because dp may be g.
  template <class V>
  static MK_INLINE void finish(int n, const V* p, const V* d, const V* g, V* dp) {
    dp[4 * n] = g[2 * n] * d[2 * n + 1];
    Weight::finish(n, p + 2 * n, d + 4 * n + 2, g + n, dp + 2 * n);
    Weight::finish(n, p, d + 2 * n + 2, g, dp);
  }
};

}  // namespace mk::MK_ISA
