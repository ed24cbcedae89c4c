// Neural addition unit (Madsen & Johansen 2020):  z = sum_i c_i x_i,  c = clamp(w, -1, 1).
#pragma once
#include "cells/cell.h"

namespace mk::MK_ISA {

struct Nau : OneGroup {
  static constexpr int parameters(int n) { return n; }
  static constexpr int derived(int n) { return n; }
  static constexpr int saved(int) { return 0; }
  static constexpr int gradients(int n) { return n; }

  template <Mode, class V>
  static MK_INLINE void prepare(int n, CellOptions<Real<V>>, const V*, const V* p, V* d) {
    for (int i = 0; i < n; ++i) d[i] = clamp(p[i], constant<V>(-1), constant<V>(1));
  }

  template <Mode, class V>
  static MK_INLINE V forward(int n, CellOptions<Real<V>>, const V* x, const V* d, V*) {
    V z = constant<V>(0);
    for (int i = 0; i < n; ++i) z = fma(d[i], x[i], z);
    return z;
  }

  template <bool Dx, class V>
  static MK_INLINE void backward(int n, CellOptions<Real<V>>, const V* x, const V* d, const V*, V dz, V* g, V* dx) {
    for (int i = 0; i < n; ++i) {
      g[i] = fma(dz, x[i], g[i]);
      if constexpr (Dx) dx[i] = dz * d[i];
    }
  }

  // The clamp passes gradient inside [-1, 1], its ends included, and none outside.
  template <class V>
  static MK_INLINE void finish(int n, const V* p, const V*, const V* g, V* dp) {
    for (int i = 0; i < n; ++i)
      dp[i] = select(p[i] >= constant<V>(-1), select(p[i] <= constant<V>(1), g[i], constant<V>(0)),
                     select(p[i] == p[i], constant<V>(0), p[i]));
  }
};

}  // namespace mk::MK_ISA
