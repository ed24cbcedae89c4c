// Linear unit with a bias, the last parameter, and an activation:  a = sum_i w_i x_i + b
//   none    z = a
//   relu    z = max(a, 0)            dz/da = [a > 0]
//   relu6   z = min(max(a, 0), 6)    dz/da = [0 < a < 6]
// The slopes at the kinks are those of torch.relu and torch.nn.functional.relu6.  The baselines of Madsen & Johansen
// 2020.
#pragma once
#include "cells/cell.h"

namespace mk::MK_ISA {

enum class Activation { none, relu, relu6 };

template <Activation activation>
struct Linear {
  static constexpr int groups = 2;
  static constexpr int group(int n, int k) { return k / n; }
  static constexpr int parameters(int n) { return n + 1; }
  static constexpr int derived(int n) { return n + 1; }
  static constexpr int saved(int) { return activation == Activation::none ? 0 : 1; }  // z
  static constexpr int gradients(int n) { return n + 1; }

  template <Mode, class V>
  static MK_INLINE void prepare(int n, CellOptions<Real<V>>, const V*, const V* p, V* d) {
    for (int i = 0; i <= n; ++i) d[i] = p[i];
  }

  template <Mode, class V>
  static MK_INLINE V forward(int n, CellOptions<Real<V>>, const V* x, const V* d, V* s) {
    V z = d[n];
    for (int i = 0; i < n; ++i) z = fma(d[i], x[i], z);
    if constexpr (activation != Activation::none) {
      z = select(z < constant<V>(0), constant<V>(0), z);
      if constexpr (activation == Activation::relu6) z = select(z > constant<V>(6), constant<V>(6), z);
      s[0] = z;
    }
    return z;
  }

  template <bool Dx, class V>
  static MK_INLINE void backward(int n, CellOptions<Real<V>>, const V* x, const V* d, const V* s, V dz, V* g, V* dx) {
    if constexpr (activation != Activation::none) dz = select(s[0] <= constant<V>(0), constant<V>(0), dz);
    if constexpr (activation == Activation::relu6) dz = select(s[0] >= constant<V>(6), constant<V>(0), dz);
    for (int i = 0; i < n; ++i) {
      g[i] = fma(dz, x[i], g[i]);
      if constexpr (Dx) dx[i] = dz * d[i];
    }
    g[n] = g[n] + dz;
  }

  template <class V>
  static MK_INLINE void finish(int n, const V*, const V*, const V* g, V* dp) {
    for (int i = 0; i <= n; ++i) dp[i] = g[i];
  }
};

}  // namespace mk::MK_ISA
