// One step of an optimiser for one parameter; the lanes are models.
#pragma once
#include "cells/cell.h"

namespace mk::MK_ISA {

// Adam (Kingma & Ba 2015) in the form of torch.optim.Adam:
//   m += (1 - b1)(dp - m);  v = b2 v + (1 - b2) dp^2;  p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
template <class V>
struct AdamStep {
  V decay1, beta2, decay2, eps;  // decay = 1 - beta
  V step;                        // lr / (1 - b1^t)
  V correction;                  // 1 / sqrt(1 - b2^t)

  MK_INLINE void operator()(V dp, V& p, V& m, V& v) const {
    m = fma(decay1, dp - m, m);
    v = fma(beta2, v, decay2 * dp * dp);
    p = p - step * (m / fma(sqrt(v), correction, eps));
  }
};

// Adam in the form of Keras, whose correction is in the step:
//   m += (1 - b1)(dp - m);  v += (1 - b2)(dp^2 - v);  p -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)
template <class V>
struct KerasAdamStep {
  V decay1, decay2, eps;  // decay = 1 - beta
  V step;                 // lr sqrt(1 - b2^t) / (1 - b1^t)

  MK_INLINE void operator()(V dp, V& p, V& m, V& v) const {
    m = fma(decay1, dp - m, m);
    v = fma(decay2, dp * dp - v, v);
    p = p - step * (m / (sqrt(v) + eps));
  }
};

// Gradient descent in the form of torch.optim.SGD:  m = momentum m + dp;  p -= lr m
template <class V>
struct SgdStep {
  V momentum, lr;

  MK_INLINE void operator()(V dp, V& p, V& m) const {
    m = fma(momentum, m, dp);
    p = fma(-lr, m, p);
  }
};

}  // namespace mk::MK_ISA
