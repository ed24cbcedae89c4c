// Mean squared error of one model on a fixed set, and what a row keeps of it.
#pragma once
#include "cells/cell.h"
#include "common/lanes.h"
#include "trainers/nalm/program.h"

namespace mk::MK_ISA {

template <class R>
constexpr R lane_numbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

// x [n][count], target [count]; predict(const V* sample) gives the outputs of a pack of samples, and `sample` has room
// for one.  Squares are added in R over 16 rows of 32 columns, the columns' sums in double: a set of 10,000 loses no
// digits that a float mean would show.
template <class R, class Predict>
MK_INLINE double mean_squared_error(int n, const R* x, const R* target, int64_t count, Pack<R>* sample,
                                    Predict predict) {
  using V = Pack<R>;
  constexpr int width = Number<V>::width;
  constexpr int64_t block = 16 * columns;
  double column[columns] = {};
  for (int64_t start = 0; start < count; start += block) {
    for (int first = 0; first < columns; first += width) {
      V sum = constant<V>(0);
      for (int64_t s = start + first; s < start + block && s < count; s += columns) {
        const int64_t lanes = count - s;
        const auto read = [&](const R* from) {  // beyond the end the pack's first sample is repeated
          if (lanes >= width) return V::load(from);
          R pack[width];
          for (int l = 0; l < width; ++l) pack[l] = from[l < lanes ? l : 0];
          return V::load(pack);
        };
        for (int i = 0; i < n; ++i) sample[i] = read(x + i * count + s);
        const V error = predict(sample) - read(target + s), added = fma(error, error, sum);
        sum = lanes >= width ? added : select(V::load(lane_numbers<R>) < splat<V>(static_cast<R>(lanes)), added, sum);
      }
      for (int l = 0; l < width; ++l) column[first + l] += static_cast<double>(sum[l]);
    }
  }
  for (int half = columns / 2; half > 0; half /= 2)
    for (int c = 0; c < half; ++c) column[c] += column[c + half];
  return column[0] / static_cast<double>(count);
}

// Where a model's row of an iteration stands.
MK_INLINE double* row_of(const Program& p, int64_t index, int64_t iteration) {
  return p.rows + (index * p.row_capacity + iteration / p.evaluate_every) * row_columns;
}

// Keeps the parameters ([P][16], of one model) if the row's validation error is the lowest so far.
template <class R>
MK_INLINE void keep_best(const Program& p, int64_t index, int64_t iteration, const R* parameter, R* best) {
  const double valid = row_of(p, index, iteration)[0];
  if (!(valid < p.best_valid[index])) return;
  p.best_valid[index] = valid;
  p.best_row[index] = static_cast<int32_t>(iteration / p.evaluate_every);
  for (int k = 0; k < p.parameters; ++k) best[k * tile_models] = parameter[k * tile_models];
}

}  // namespace mk::MK_ISA
