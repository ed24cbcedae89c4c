// How trained numbers become the weights of a path, and sums of weight gradients the gradients of those numbers.
//   linear         w = a
//   clamped        w = clamp(a, -1, 1)         dw/da = [-1 <= a <= 1]                       (NAU)
//   sigmoid        w = sigma(a)                dw/da = w (1 - w)                            (NAC-sigma)
//   tanh_sigmoid   w = tanh(a) sigma(b)        dw/da = (1 - tanh(a)^2) sigma(b)
//                                              dw/db = tanh(a) sigma(b) (1 - sigma(b))      (Trask et al. 2018)
//   golden         the same to the base phi = (1 + sqrt 5) / 2:  w = tanh(a ln phi) sigma(b ln phi)
// A form of two numbers has all a first, then all b.
#pragma once
#include "cells/cell.h"

namespace mk::MK_ISA {

enum class WeightForm { linear, clamped, sigmoid, tanh_sigmoid, golden };

constexpr double log_golden = 0.48121182505960344750;

template <WeightForm form>
struct Weights {
  static constexpr bool pair = form == WeightForm::tanh_sigmoid || form == WeightForm::golden;
  static constexpr double scale = form == WeightForm::golden ? log_golden : 1;
  static constexpr int tensors = pair ? 2 : 1;
  static constexpr int parameters(int n) { return tensors * n; }
  static constexpr int slopes(int n) { return pair ? 2 * n : form == WeightForm::sigmoid ? n : 0; }

  // p -> weights w (n) and slopes dw/dp, both kept until finish.
  template <class V>
  static MK_INLINE void prepare(int n, const V* p, V* w, V* slope) {
    const V one = constant<V>(1);
    for (int i = 0; i < n; ++i) {
      if constexpr (pair) {
        const V t = tanh(scaled(p[i])), s = sigmoid(scaled(p[n + i]));
        w[i] = t * s;
        slope[i] = scaled(fma(-t, t, one) * s);
        slope[n + i] = scaled(w[i] * (one - s));
      } else if constexpr (form == WeightForm::sigmoid) {
        w[i] = sigmoid(p[i]);
        slope[i] = w[i] * (one - w[i]);
      } else {
        w[i] = form == WeightForm::clamped ? clamp(p[i], -one, one) : p[i];
      }
    }
  }

  // Sums g (n) of dw -> dp; dp may be g.  A clamp passes gradient inside [-1, 1], its ends included, and none outside.
  template <class V>
  static MK_INLINE void finish(int n, const V* p, const V* slope, const V* g, V* dp) {
    const V zero = constant<V>(0), one = constant<V>(1);
    for (int i = 0; i < n; ++i) {
      const V dw = g[i];
      if constexpr (pair) {
        dp[i] = dw * slope[i];
        dp[n + i] = dw * slope[n + i];
      } else if constexpr (form == WeightForm::sigmoid) {
        dp[i] = dw * slope[i];
      } else if constexpr (form == WeightForm::clamped) {
        dp[i] = select(p[i] >= -one, select(p[i] <= one, dw, zero), select(p[i] == p[i], zero, p[i]));
      } else {
        dp[i] = dw;
      }
    }
  }

 private:
  template <class V>
  static MK_INLINE V scaled(V v) {
    if constexpr (form == WeightForm::golden) return v * constant<V>(scale);
    return v;
  }
};

}  // namespace mk::MK_ISA
