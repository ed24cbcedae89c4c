// Neural arithmetic logic unit (Trask et al. 2018): an additive and a multiplicative path under a learned gate.
//   h = sigma(sum_i G_i x_i),   z = h a + (1 - h) m
//   a = sum_i v_i x_i,   m = exp(sum_i w_i ln(|x_i| + eps))
//     shared     v = w = tanh(What) sigma(Mhat)
//     separate   v and w of the same form, each with numbers of its own
//     nau_nmu    v = clamp(V, -1, 1),  m = prod_i f_i,  f_i = w_i x_i + 1 - w_i    (Madsen & Johansen 2020)
//   da = h dz,   dm = (1 - h) dz,   dq = (a - m) h (1 - h) dz  of the sum in h
//   dv_i = da x_i,   dG_i = dq x_i,   dw_i = dm m ln(|x_i| + eps)  or  dm (x_i - 1) prod_{j != i} f_j
//   dx_i = da v_i + dq G_i + dm m w_i sign(x_i) / (|x_i| + eps)    or  … + dm w_i prod_{j != i} f_j
// The parameters are the numbers of v, those of w unless shared, then G.  The G-NALU (as in
// the code of Mistry, Farrahi & Hare 2022) takes tanh and sigma to the base of the golden ratio, in the weights and in
// the gate; m is the same to any base.
#pragma once
#include "cells/weights.h"

namespace mk::MK_ISA {

enum class Paths { shared, separate, nau_nmu };
enum class Base { e, golden };

template <Paths paths, Base base = Base::e, Domain domain = Domain::any>
struct Nalu : PlainWeights {
  static_assert(base == Base::e || paths != Paths::nau_nmu, "the golden ratio is for weights of tanh and sigma");
  static constexpr bool shared = paths == Paths::shared, product = paths == Paths::nau_nmu;
  static constexpr WeightForm accumulator = base == Base::e ? WeightForm::tanh_sigmoid : WeightForm::golden;
  using Sum = Weights<product ? WeightForm::clamped : accumulator>;
  using Product = Weights<product ? WeightForm::linear : accumulator>;

  static constexpr int groups = Sum::tensors + (shared ? 0 : Product::tensors) + 1;
  static constexpr int group(int n, int k) { return k / n; }
  static constexpr int weights(int n) { return shared ? n : 2 * n; }
  static constexpr int parameters(int n) { return groups * n; }
  // v, w unless shared, G in units of the base, then the slopes of v and of w
  static constexpr int derived(int n) { return slope_at(n) + Sum::slopes(n) + (shared ? 0 : Product::slopes(n)); }
  // logarithms n or factors n and prefix products n, then a, m, h
  static constexpr int saved(int n) { return path_at(n) + 3; }
  static constexpr int gradients(int n) { return shared ? 2 * n : 3 * n; }  // v, w unless shared, G

  template <Mode, class V>
  static MK_INLINE void prepare(int n, CellOptions<Real<V>>, const V*, const V* p, V* d) {
    Sum::prepare(n, p, d, d + slope_at(n));
    if constexpr (!shared) Product::prepare(n, p + factor_at(n), d + n, d + slope_at(n) + Sum::slopes(n));
    for (int i = 0; i < n; ++i) d[gate_at(n) + i] = in_base(p[parameters(n) - n + i]);
  }

  template <Mode, class V>
  static MK_INLINE V forward(int n, CellOptions<Real<V>> options, const V* x, const V* d, V* s) {
    const V one = constant<V>(1), epsilon = splat<V>(options.epsilon);
    const V *w = shared ? d : d + n, *gate = d + gate_at(n);
    V a = constant<V>(0), q = a, power = a, m = one;
    for (int i = 0; i < n; ++i) {
      a = fma(d[i], x[i], a);
      q = fma(gate[i], x[i], q);
      if constexpr (product) {
        s[i] = fma(w[i], x[i] - one, one);
        s[n + i] = m;
        m = m * s[i];
      } else {
        s[i] = logarithm<domain>(abs(x[i]) + epsilon);
        power = fma(w[i], s[i], power);
      }
    }
    if constexpr (!product) m = exp(power);
    const V h = sigmoid(q);
    V* path = s + path_at(n);
    path[0] = a;
    path[1] = m;
    path[2] = h;
    return fma(h, a, (one - h) * m);
  }

  template <bool Dx, class V>
  static MK_INLINE void backward(int n, CellOptions<Real<V>> options, const V* x, const V* d, const V* s, V dz, V* g,
                                 V* dx) {
    const V one = constant<V>(1), epsilon = splat<V>(options.epsilon);
    const V *w = shared ? d : d + n, *gate = d + gate_at(n), *path = s + path_at(n);
    const V m = path[1], h = path[2];
    const V da = dz * h, dm = dz * (one - h), dq = da * (one - h) * (path[0] - m), dpower = dm * m;
    V* dw = shared ? g : g + n;
    V suffix = dm;
    for (int i = n - 1; i >= 0; --i) {
      g[i] = fma(da, x[i], g[i]);
      g[gate_at(n) + i] = fma(dq, x[i], g[gate_at(n) + i]);
      V slope;
      if constexpr (product) {
        const V others = suffix * s[n + i];
        dw[i] = fma(others, x[i] - one, dw[i]);
        slope = others * w[i];
        suffix = suffix * s[i];
      } else {
        dw[i] = fma(dpower, s[i], dw[i]);
        if constexpr (Dx) slope = quotient_of(dpower, w[i] * sign(x[i]), abs(x[i]) + epsilon);
      }
      if constexpr (Dx) dx[i] = fma(da, d[i], fma(dq, gate[i], slope));
    }
  }

  // From the last to the first, because dp may be g.
  template <class V>
  static MK_INLINE void finish(int n, const V* p, const V* d, const V* g, V* dp) {
    for (int i = n - 1; i >= 0; --i) dp[parameters(n) - n + i] = in_base(g[gate_at(n) + i]);
    const V* slope = d + slope_at(n);
    if constexpr (!shared) Product::finish(n, p + factor_at(n), slope + Sum::slopes(n), g + n, dp + factor_at(n));
    Sum::finish(n, p, slope, g, dp);
  }

 private:
  static constexpr int factor_at(int n) { return Sum::parameters(n); }  // of w in p
  static constexpr int gate_at(int n) { return shared ? n : 2 * n; }    // of G in d and g
  static constexpr int slope_at(int n) { return gate_at(n) + n; }       // in d
  static constexpr int path_at(int n) { return product ? 2 * n : n; }   // of a, m, h in s

  template <class V>
  static MK_INLINE V in_base(V v) {
    if constexpr (base == Base::golden) return v * constant<V>(log_golden);
    return v;
  }
};

}  // namespace mk::MK_ISA
