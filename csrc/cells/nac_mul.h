// Multiplicative accumulators:  z = exp(sum_i w_i ln(|x_i| + eps))
//   dz/dw_i = z ln(|x_i| + eps),   dz/dx_i = z w_i sign(x_i) / (|x_i| + eps)
// The weights are tanh(What) sigma(Mhat) in the NAC. (Trask et al. 2018), sigma(What) in the NAC-sigma and the
// parameters themselves, kept in [0, 1] by a clamp after each step, in the NAC-NMU (Madsen & Johansen 2020).  The sign
// of x is lost; eps is 1e-7 in the papers.
#pragma once
#include "cells/weights.h"

namespace mk::MK_ISA {

template <WeightForm form, Domain domain = Domain::any>
struct NacMul : PlainWeights {
  using Weight = Weights<form>;
  static constexpr int groups = Weight::tensors;
  static constexpr int group(int n, int k) { return k / n; }
  static constexpr int parameters(int n) { return Weight::parameters(n); }
  static constexpr int derived(int n) { return n + Weight::slopes(n); }  // w, slopes
  static constexpr int saved(int n) { return n + 1; }                    // logarithms, z
  static constexpr int gradients(int n) { return n; }

  template <Mode, class V>
  static MK_INLINE void prepare(int n, CellOptions<Real<V>>, const V*, const V* p, V* d) {
    Weight::prepare(n, p, d, d + n);
  }

  template <Mode, class V>
  static MK_INLINE V forward(int n, CellOptions<Real<V>> options, const V* x, const V* d, V* s) {
    const V epsilon = splat<V>(options.epsilon);
    V power = constant<V>(0);
    for (int i = 0; i < n; ++i) {
      s[i] = logarithm<domain>(abs(x[i]) + epsilon);
      power = fma(d[i], s[i], power);
    }
    s[n] = exp(power);
    return s[n];
  }

  template <bool Dx, class V>
  static MK_INLINE void backward(int n, CellOptions<Real<V>> options, const V* x, const V* d, const V* s, V dz, V* g,
                                 V* dx) {
    const V epsilon = splat<V>(options.epsilon), dpower = dz * s[n];
    for (int i = 0; i < n; ++i) {
      g[i] = fma(dpower, s[i], g[i]);
      if constexpr (Dx) dx[i] = quotient_of(dpower, d[i] * sign(x[i]), abs(x[i]) + epsilon);
    }
  }

  template <class V>
  static MK_INLINE void finish(int n, const V* p, const V* d, const V* g, V* dp) {
    Weight::finish(n, p, d + n, g, dp);
  }
};

}  // namespace mk::MK_ISA
