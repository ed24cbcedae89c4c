// Batch normalisation of one feature; lanes are samples, and features where a step is prepared.
//   y = gamma x^ + beta,  x^ = (x - mean) / sqrt(variance + eps)
//   dgamma = sum dy x^,  dbeta = sum dy,  dx = gamma / sqrt(variance + eps) (dy - dbeta / N - x^ dgamma / N)
// N counts the values that mean and variance were taken of.
#pragma once
#include "common/scalar.h"

namespace mk::MK_ISA {

struct BatchNorm {
  template <class V>
  struct Derived {
    V scale, shift, inverse;  // y = scale x + shift, x^ = (x - mean) inverse
  };
  template <class V>
  static MK_INLINE Derived<V> prepare(V mean, V variance, V gamma, V beta, V eps) {
    const V inverse = splat<V>(1) / sqrt(variance + eps), scale = gamma * inverse;
    return {scale, fma(-mean, scale, beta), inverse};
  }
  template <class V>
  static MK_INLINE V forward(V x, V scale, V shift) {
    return fma(x, scale, shift);
  }

  // Adds what one value contributes.
  template <class V>
  static MK_INLINE void gradients(V x, V dy, V mean, V inverse, V& dgamma, V& dbeta) {
    dbeta = dbeta + dy;
    dgamma = fma(dy, (x - mean) * inverse, dgamma);
  }
  template <class V>
  struct Slopes {
    V slope, offset;  // dx = scale dy + slope (x - mean) + offset
  };
  // share = -1 / N
  template <class V>
  static MK_INLINE Slopes<V> prepare_backward(V scale, V inverse, V dgamma, V dbeta, V share) {
    const V factor = scale * share;
    return {factor * dgamma * inverse, factor * dbeta};
  }
  template <class V>
  static MK_INLINE V backward(V x, V dy, V mean, V scale, V slope, V offset) {
    return fma(scale, dy, fma(slope, x - mean, offset));
  }
};

}  // namespace mk::MK_ISA
