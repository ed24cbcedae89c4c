// Neural multiplication unit (Madsen & Johansen 2020):  z = prod_i f_i,  f_i = w_i x_i + 1 - w_i.
//   dz/dw_i = (x_i - 1) prod_{j != i} f_j,   dz/dx_i = w_i prod_{j != i} f_j
// The products without i are prefix times suffix, never z / f_i: a factor may be exactly 0.
#pragma once
#include "cells/cell.h"

namespace mk::MK_ISA {

struct Nmu : OneGroup {
  static constexpr int parameters(int n) { return n; }
  static constexpr int derived(int n) { return n; }
  static constexpr int saved(int n) { return 2 * n; }  // factors, prefix products
  static constexpr int gradients(int n) { return n; }

  template <Mode, class V>
  static MK_INLINE void prepare(int n, CellOptions<Real<V>>, const V*, const V* p, V* d) {
    for (int i = 0; i < n; ++i) d[i] = p[i];
  }

  template <Mode, class V>
  static MK_INLINE V forward(int n, CellOptions<Real<V>>, const V* x, const V* d, V* s) {
    const V one = constant<V>(1);
    V z = one;
    for (int i = 0; i < n; ++i) {
      s[i] = fma(d[i], x[i] - one, one);
      s[n + i] = z;
      z = z * s[i];
    }
    return z;
  }

  template <bool Dx, class V>
  static MK_INLINE void backward(int n, CellOptions<Real<V>>, const V* x, const V* d, const V* s, V dz, V* g, V* dx) {
    V suffix = dz;
    for (int i = n - 1; i >= 0; --i) {
      const V others = suffix * s[n + i];
      g[i] = fma(others, x[i] - constant<V>(1), g[i]);
      if constexpr (Dx) dx[i] = others * d[i];
      suffix = suffix * s[i];
    }
  }

  template <class V>
  static MK_INLINE void finish(int n, const V*, const V*, const V* g, V* dp) {
    for (int i = 0; i < n; ++i) dp[i] = g[i];
  }
};

}  // namespace mk::MK_ISA
