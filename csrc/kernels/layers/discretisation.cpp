// Discretisation penalties over a block of weights of one model; the columns of lanes.h give the sum.
#include "cells/penalty.h"
#include "common/lanes.h"
#include "kernels/table.h"

namespace mk::MK_ISA {
namespace {

template <class T, Penalty kind>
T sum_block(int64_t count, const T* weight) {
  using V = Pack<T>;
  constexpr int width = Number<V>::width, sets = columns / width;
  V sums[sets];
  for (int c = 0; c < sets; ++c) sums[c] = splat<V>(T(0));
  int64_t k = 0;
  for (; k + width <= count; k += width) {
    V& sum = sums[k / width % sets];
    sum = sum + penalty(kind, V::load(weight + k));
  }
  if (k < count) {
    T rest[width] = {};
    for (int64_t lane = 0; k + lane < count; ++lane) rest[lane] = penalty(kind, weight[k + lane]);
    V& sum = sums[k / width % sets];
    sum = sum + V::load(rest);
  }
  for (int half = sets / 2; half > 0; half /= 2)
    for (int c = 0; c < half; ++c) sums[c] = sums[c] + sums[half + c];
  return lane_sum(sums[0]);
}

template <class T, Penalty kind>
void slope_block(int64_t count, T scale, const T* weight, T* dweight) {
  using V = Pack<T>;
  constexpr int width = Number<V>::width;
  int64_t k = 0;
  for (; k + width <= count; k += width)
    (splat<V>(scale) * penalty_slope(kind, V::load(weight + k))).store(dweight + k);
  for (; k < count; ++k) dweight[k] = scale * penalty_slope(kind, weight[k]);
}

}  // namespace

template <class T>
T discretisation_sum(int kind, int64_t count, const T* weight) {
  switch (static_cast<Penalty>(kind)) {
    case Penalty::unit:
      return sum_block<T, Penalty::unit>(count, weight);
    case Penalty::ternary:
      return sum_block<T, Penalty::ternary>(count, weight);
    case Penalty::signed_unit:
      return sum_block<T, Penalty::signed_unit>(count, weight);
    default:  // the ensemble's other penalties are no operators
      break;
  }
  return T(0);
}

template <class T>
void discretisation_backward(int kind, int64_t count, T scale, const T* weight, T* dweight) {
  switch (static_cast<Penalty>(kind)) {
    case Penalty::unit:
      return slope_block<T, Penalty::unit>(count, scale, weight, dweight);
    case Penalty::ternary:
      return slope_block<T, Penalty::ternary>(count, scale, weight, dweight);
    case Penalty::signed_unit:
      return slope_block<T, Penalty::signed_unit>(count, scale, weight, dweight);
    default:
      return slope_block<T, Penalty::none>(count, scale, weight, dweight);
  }
}

template float discretisation_sum(int, int64_t, const float*);
template double discretisation_sum(int, int64_t, const double*);
template void discretisation_backward(int, int64_t, float, const float*, float*);
template void discretisation_backward(int, int64_t, double, const double*, double*);

}  // namespace mk::MK_ISA
