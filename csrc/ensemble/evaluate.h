// Mean squared error of one model on a fixed set, and the row that a run logs.
#pragma once
#include "cells/cell.h"
#include "common/lanes.h"
#include "ensemble/program.h"

namespace mk::MK_ISA {

// x [n][count], target [count]; d are the model's derived parameters, repeated in every lane.  Squares are added in R
// over 16 rows of 32 columns, the columns' sums in double: a set of 10,000 loses no digits that a float mean would
// show.
template <class Core, Mode mode, int N, class R>
__attribute__((noinline)) double mean_squared_error(int inputs, CellOptions<R> options, const R* x, const R* target,
                                                    int64_t count, const Pack<R>* d) {
  using V = Pack<R>;
  constexpr int width = Number<V>::width, capacity = N ? N : max_inputs;
  constexpr int64_t block = 16 * columns;
  const int n = N ? N : inputs;
  double column[columns] = {};
  for (int64_t start = 0; start < count; start += block) {
    for (int first = 0; first < columns; first += width) {
      V sum = constant<V>(0);
      for (int64_t s = start + first; s < start + block && s < count; s += columns) {
        V sample[capacity], saved[Core::saved(capacity) + 1];
        const int lanes = count - s < width ? static_cast<int>(count - s) : width;
        if (lanes == width) {
          for (int i = 0; i < n; ++i) sample[i] = V::load(x + i * count + s);
          const V error = Core::template forward<mode>(n, options, sample, d, saved) - V::load(target + s);
          sum = fma(error, error, sum);
        } else {  // the last, incomplete pack repeats its first sample in the lanes behind the end
          for (int i = 0; i < n; ++i) {
            sample[i] = splat<V>(x[i * count + s]);
            for (int l = 0; l < lanes; ++l) sample[i].raw[l] = x[i * count + s + l];
          }
          const V z = Core::template forward<mode>(n, options, sample, d, saved);
          for (int l = 0; l < lanes; ++l) {
            const R error = z[l] - target[s + l];
            sum.raw[l] = fma(error, error, sum.raw[l]);
          }
        }
      }
      for (int l = 0; l < width; ++l) column[first + l] += static_cast<double>(sum[l]);
    }
  }
  for (int half = columns / 2; half > 0; half /= 2)
    for (int c = 0; c < half; ++c) column[c] += column[c + half];
  return column[0] / static_cast<double>(count);
}

}  // namespace mk::MK_ISA
