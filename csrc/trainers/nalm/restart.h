// Starts a model anew that does not improve (Schloer, Ring & Hotho 2020).
//
// Once more than `window` validation errors are stored since the start or the last restart, the model takes new initial
// parameters if
//   mean(first half) <= mean(second half) + deviation(second half)   and   mean(second half) > above.
// The deviation is that of the whole half (divided by its size).  A NaN among the errors restarts nothing.  What the
// optimiser remembers stays as it is.
#pragma once
#include "trainers/nalm/evaluate.h"

namespace mk::MK_ISA {

// To be called after the update of an iteration that logged a row.  parameter: [P][16], of one model.
template <class R>
__attribute__((noinline)) void restart_model(const Program& p, int64_t index, int64_t iteration, R* parameter) {
  if (p.restart_window == 0 || iteration % p.restart_every != 0) return;
  const int64_t first = p.window_row[index], stored = iteration / p.evaluate_every + 1 - first;
  if (stored <= p.restart_window || p.restarts[index] == p.restart_capacity) return;
  const double* errors = p.rows + (index * p.row_capacity + first) * row_columns;
  const int64_t half = stored / 2;
  const auto count = static_cast<double>(stored - half);
  double before = 0, after = 0, squares = 0;
  for (int64_t k = 0; k < half; ++k) before += errors[k * row_columns];
  for (int64_t k = half; k < stored; ++k) after += errors[k * row_columns];
  before /= static_cast<double>(half);
  after /= count;
  for (int64_t k = half; k < stored; ++k) {
    const double distance = errors[k * row_columns] - after;
    squares += distance * distance;
  }
  if (!(before <= after + sqrt(squares / count) && after > p.restart_above)) return;
  const int64_t tile = index / tile_models, at = tile * p.restart_capacity + p.restarts[index]++;
  const R* from = static_cast<const R*>(p.restart_parameter) + at * p.parameters * tile_models + index % tile_models;
  for (int k = 0; k < p.parameters; ++k) parameter[k * tile_models] = from[k * tile_models];
  p.window_row[index] = static_cast<int32_t>(first + stored);
}

}  // namespace mk::MK_ISA
