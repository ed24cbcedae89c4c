// Neural accumulator, NAC+ (Trask et al. 2018):  z = sum_i w_i x_i,  w = tanh(What) sigma(Mhat).
// The parameters are What, then Mhat; cells/weights.h has their slopes.
#pragma once
#include "cells/weights.h"

namespace mk::MK_ISA {

struct Nac {
  using Weight = Weights<WeightForm::tanh_sigmoid>;
  static constexpr int groups = 2;
  static constexpr int group(int n, int k) { return k / n; }
  static constexpr int parameters(int n) { return Weight::parameters(n); }
  static constexpr int derived(int n) { return n + Weight::slopes(n); }  // w, slopes
  static constexpr int saved(int) { return 0; }
  static constexpr int gradients(int n) { return n; }

  template <Mode, class V>
  static MK_INLINE void prepare(int n, CellOptions<Real<V>>, const V*, const V* p, V* d) {
    Weight::prepare(n, p, d, d + n);
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

  template <class V>
  static MK_INLINE void finish(int n, const V* p, const V* d, const V* g, V* dp) {
    Weight::finish(n, p, d + n, g, dp);
  }
};

}  // namespace mk::MK_ISA
