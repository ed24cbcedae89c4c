// The functions of common/math.h and cells/gates.h over arrays, so that tests can measure them as each instruction set
// computes them.
#include "cells/gates.h"
#include "common/lanes.h"
#include "common/math.h"
#include "kernels/table.h"

namespace mk::MK_ISA {
namespace {

template <class V>
MK_INLINE V evaluate(Elementary function, V x, V w) {
  switch (function) {
    case Elementary::exp:
      return exp(x);
    case Elementary::log:
      return log(x);
    case Elementary::log_normal:
      return log_normal(x);
    case Elementary::pow_positive:
      return pow_positive(x, w);
    case Elementary::sinpi:
      return sincospi(x).sin;
    case Elementary::cospi:
      return sincospi(x).cos;
    case Elementary::tanh:
      return tanh(x);
    case Elementary::sigmoid:
      return sigmoid(x);
    case Elementary::gate_sigmoid:
      return gate_sigmoids(x, w).first;
    case Elementary::gate_sigmoid_by_tanh:
      return gate_sigmoid_and_tanh(x, w).first;
    case Elementary::gate_tanh_by_sigmoid:
      return gate_sigmoid_and_tanh(w, x).second;
    case Elementary::gate_tanh:
      return gate_tanh(x);
  }
  return x;
}

}  // namespace

template <class T>
void elementary(Elementary function, int64_t count, const T* x, const T* w, T* y) {
  using V = Pack<T>;
  constexpr int width = Number<V>::width;
  int64_t k = 0;
  for (; k + width <= count; k += width) evaluate(function, V::load(x + k), V::load(w + k)).store(y + k);
  for (; k < count; ++k) y[k] = evaluate(function, x[k], w[k]);
}

template void elementary(Elementary, int64_t, const float*, const float*, float*);
template void elementary(Elementary, int64_t, const double*, const double*, double*);

}  // namespace mk::MK_ISA
