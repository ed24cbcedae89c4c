// A module of one output:  z = (sum_i w_i x_i)^2.  Replace the formulas by those of your own.
//   dz/dw_i = 2 a x_i,   dz/dx_i = 2 a w_i,   a = sum_i w_i x_i
//
// V is a pack of numbers: float or double, as many as the processor takes at once.  It has + - * / and comparisons,
// fma(a, b, c) = a b + c, abs, sqrt, exp, log, tanh, sigmoid, clamp(v, low, high), sign, select(mask, a, b), and
// constant<V>(1.5).  There is no `if` on a V: select takes a where the mask holds, else b.
#pragma once
#include "cells/cell.h"

namespace mk::MK_ISA {

struct Custom {
  // How many trained numbers a unit has for n inputs, in the order of the tensors, and to which tensor each belongs.
  static constexpr int parameters(int n) { return n; }
  static constexpr int groups = 1;
  static constexpr int group(int, int) { return 0; }

  // How many numbers `prepare` makes of the parameters, `forward` keeps for `backward`, and `backward` adds up.
  static constexpr int derived(int n) { return n; }
  static constexpr int saved(int) { return 1; }
  static constexpr int gradients(int n) { return n; }

  // The sparsity error is the largest distance from -1, 0 and 1 of these of the derived numbers.
  static constexpr int weights(int n) { return n; }
  static constexpr int weight(int, int k) { return k; }
  static constexpr int term(int, int) { return 0; }

  // Once per step: the parameters p -> what forward and backward need, d.  Mode is training or evaluation.
  template <Mode, class V>
  static MK_INLINE void prepare(int n, CellOptions<Real<V>>, const V*, const V* p, V* d) {
    for (int i = 0; i < n; ++i) d[i] = p[i];
  }

  // Inputs x -> the output.  `options.epsilon` is that of the description.
  template <Mode, class V>
  static MK_INLINE V forward(int n, CellOptions<Real<V>>, const V* x, const V* d, V* s) {
    V a = constant<V>(0);
    for (int i = 0; i < n; ++i) a = fma(d[i], x[i], a);
    s[0] = a;
    return a * a;
  }

  // From the gradient dz of the output: ADDS to the gradients g, and sets dx if Dx.
  template <bool Dx, class V>
  static MK_INLINE void backward(int n, CellOptions<Real<V>>, const V* x, const V* d, const V* s, V dz, V* g, V* dx) {
    const V da = constant<V>(2) * s[0] * dz;
    for (int i = 0; i < n; ++i) {
      g[i] = fma(da, x[i], g[i]);
      if constexpr (Dx) dx[i] = da * d[i];
    }
  }

  // Once per step: the sums g over the batch -> the gradients dp of the parameters p.
  template <class V>
  static MK_INLINE void finish(int n, const V*, const V*, const V* g, V* dp) {
    for (int i = 0; i < n; ++i) dp[i] = g[i];
  }
};

}  // namespace mk::MK_ISA
