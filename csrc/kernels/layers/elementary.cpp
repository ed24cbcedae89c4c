// The functions of common/math.h and cells/gates.h over arrays, so that tests can measure them as each instruction set
// computes them.
#include "cells/gates.h"
#include "common/lanes.h"
#include "common/math.h"
#include "kernels/table.h"

namespace mk::MK_ISA {
namespace {

// In the order of mk::Elementary.
template <class V>
MK_INLINE V evaluate(int function, V x, V w) {
  switch (function) {
    case 0:
      return exp(x);
    case 1:
      return log(x);
    case 2:
      return log_normal(x);
    case 3:
      return pow_positive(x, w);
    case 4:
      return sincospi(x).sin;
    case 5:
      return sincospi(x).cos;
    case 6:
      return tanh(x);
    case 7:
      return sigmoid(x);
    case 8:
      return gate_sigmoids(x, w).first;
    case 9:
      return gate_sigmoid_and_tanh(x, w).first;
    case 10:
      return gate_sigmoid_and_tanh(w, x).second;
    default:
      return gate_tanh(x);
  }
}

}  // namespace

template <class T>
void elementary(int function, int64_t count, const T* x, const T* w, T* y) {
  using V = Pack<T>;
  constexpr int width = Number<V>::width;
  int64_t k = 0;
  for (; k + width <= count; k += width) evaluate(function, V::load(x + k), V::load(w + k)).store(y + k);
  for (; k < count; ++k) y[k] = evaluate(function, x[k], w[k]);
}

template void elementary(int, int64_t, const float*, const float*, float*);
template void elementary(int, int64_t, const double*, const double*, double*);

}  // namespace mk::MK_ISA
