// What a model does with its gradient: penalties, clip, optimiser step, clamp.  The lanes of V are models.
#pragma once
#include "cells/optimiser.h"
#include "cells/penalty.h"
#include "trainers/nalm/program.h"

namespace mk::MK_ISA {

// How many parameters a model of one cell has, and to which group each belongs.  N = 0: `inputs` says how many inputs.
template <class Core, int N>
struct CoreGrouping {
  static constexpr int groups = Core::groups;
  int inputs = N;
  MK_INLINE constexpr int parameters() const { return Core::parameters(N ? N : inputs); }
  MK_INLINE constexpr int group(int k) const { return Core::group(N ? N : inputs, k); }
};

// The entries of a program's schedules for one iteration.
template <class V, int groups>
struct Schedule {
  V step, correction, norm, penalty[groups];

  MK_INLINE Schedule(const Program& p, int64_t at)
      : step(entry(p.step, at)), correction(entry(p.correction, at)), norm(entry(p.norm, at)) {
    MK_UNROLL
    for (int g = 0; g < groups; ++g)
      penalty[g] = g < p.groups ? entry(p.penalty, g * (p.last - p.first) + at) : constant<V>(0);
  }

  static MK_INLINE V entry(const void* table, int64_t at) { return splat<V>(static_cast<const Real<V>*>(table)[at]); }
};

// Adds the slopes of the discretisation and norm penalties to dp.
template <class Grouping, class V>
MK_INLINE void add_penalties(const Program& p, const Schedule<V, Grouping::groups>& at, const Grouping& grouping,
                             const V* raw, V* dp) {
  V norm[Grouping::groups];
  MK_UNROLL
  for (int g = 0; g < Grouping::groups; ++g) norm[g] = constant<V>(0);
  if (p.norm_order == 2) {
    MK_UNROLL
    for (int k = 0; k < grouping.parameters(); ++k) {
      V& sum = norm[grouping.group(k)];
      sum = fma(raw[k], raw[k], sum);
    }
    MK_UNROLL
    for (int g = 0; g < Grouping::groups; ++g) norm[g] = sqrt(norm[g]);
  }
  MK_UNROLL
  for (int k = 0; k < grouping.parameters(); ++k) {
    const int g = grouping.group(k);
    const auto kind = static_cast<Penalty>(p.group[g].penalty);
    if (kind != Penalty::none) dp[k] = fma(at.penalty[g], penalty_slope(kind, raw[k]), dp[k]);
    if (p.norm_order == 1) dp[k] = fma(at.norm, sign(raw[k]), dp[k]);
    if (p.norm_order == 2)
      dp[k] = dp[k] + select(norm[g] > constant<V>(0), at.norm * (raw[k] / norm[g]), constant<V>(0));
  }
}

// Scales dp so that its Euclidean norm is at most p.clip_norm, as torch.nn.utils.clip_grad_norm_ does.  In float the
// squares overflow from 1.8e19 on and the update becomes 0, as in the published experiments; a wide norm divides by the
// largest entry first.
template <class V>
MK_INLINE void clip_gradient(const Program& p, int parameters, V* dp) {
  V square = constant<V>(0), largest = constant<V>(1);
  if (p.wide_norm) {
    largest = constant<V>(1e-30);
    MK_UNROLL
    for (int k = 0; k < parameters; ++k) largest = select(abs(dp[k]) > largest, abs(dp[k]), largest);
  }
  MK_UNROLL
  for (int k = 0; k < parameters; ++k) {
    const V part = p.wide_norm ? dp[k] / largest : dp[k];
    square = fma(part, part, square);
  }
  const V norm = p.wide_norm ? sqrt(square) * largest : sqrt(square);
  const V ratio = splat<V>(static_cast<Real<V>>(p.clip_norm)) / (norm + constant<V>(1e-6));
  const V factor = select(ratio > constant<V>(1), constant<V>(1), ratio);
  MK_UNROLL
  for (int k = 0; k < parameters; ++k) dp[k] = dp[k] * factor;
}

// Limits the norm of dp, or its entries as torch.nn.utils.clip_grad_value_ does, if the program asks for it.
template <class V>
MK_INLINE void limit_gradient(const Program& p, int parameters, V* dp) {
  if (p.clip_norm > 0) clip_gradient(p, parameters, dp);
  if (!(p.clip_value > 0)) return;
  const V limit = constant<V>(p.clip_value);
  MK_UNROLL
  for (int k = 0; k < parameters; ++k) dp[k] = clamp(dp[k], -limit, limit);
}

// Moments that have died away count as 0 where that moves nothing.  A model that has arrived has gradients of exactly
// 0; its moments would decay into the denormal numbers and, by their rounding, never leave them, and these take a
// processor a hundred times as long.  But a model at a saddle, some parameters at almost 0, has gradients as small and
// leaves by them: Adam divides by no less than eps, and 1e-30 / 1e-8 is much for a parameter of 1e-30.  So the first
// moment is dropped where the parameter is too large for it or is held at 0 by its clamp, the second where it adds
// nothing to eps.
template <class V>
MK_INLINE void drop_moments(const Program& p, const Group& group, V raw, V& first, V& second) {
  constexpr bool wide = sizeof(Real<V>) == sizeof(double);
  constexpr double least_first = wide ? 0x1p-900 : 0x1p-100, least_second = wide ? 0x1p-900 : 0x1p-120;
  const bool adam = p.optimiser == static_cast<int64_t>(OptimiserKind::adam);
  if (adam && p.eps < 0x1p-28) return;
  const V zero = constant<V>(0);
  V left = select(abs(raw) > constant<V>(0x1p-20), zero, first);
  if (group.clamped && group.low == 0) left = select(raw == zero, zero, left);
  first = select(abs(first) < constant<V>(least_first), left, first);
  if (adam) second = select(second < constant<V>(least_second), zero, second);
}

// The optimiser's step of one parameter and the clamp that follows it.
template <class V, int groups>
MK_INLINE void step_parameter(const Program& p, const Schedule<V, groups>& at, int group, V dp, V& raw, V& first,
                              V& second) {
  if (p.optimiser == static_cast<int64_t>(OptimiserKind::adam)) {
    const AdamStep<V> adam{
        constant<V>(p.decay1), constant<V>(p.beta2), constant<V>(p.decay2), constant<V>(p.eps), at.step, at.correction};
    adam(dp, raw, first, second);
  } else {
    SgdStep<V>{constant<V>(p.momentum), at.step}(dp, raw, first);
  }
  const Group& to = p.group[group];
  if (to.clamped) raw = clamp(raw, constant<V>(to.low), constant<V>(to.high));
  drop_moments(p, to, raw, first, second);
}

// Whether the penalty of a group counts for a model with this validation error.
MK_INLINE bool counts(const Group& group, double valid) { return group.below == 0 || valid < group.below; }

// The sum of the penalties of one model's parameters, in double; `valid` is its validation error.
template <class Grouping, class R>
MK_INLINE double total_penalty(const Program& p, int64_t at, const Grouping& grouping, const R* parameter,
                               int64_t stride, double valid) {
  double norm[Grouping::groups] = {}, total = 0;
  const auto entry = [&](const void* table, int64_t index) {
    return static_cast<double>(static_cast<const R*>(table)[index]);
  };
  MK_UNROLL
  for (int k = 0; k < grouping.parameters(); ++k) {
    const int g = grouping.group(k);
    const double w = static_cast<double>(parameter[k * stride]);
    if (counts(p.group[g], valid))
      total += entry(p.penalty, g * (p.last - p.first) + at) * penalty(static_cast<Penalty>(p.group[g].penalty), w);
    norm[g] += p.norm_order == 1 ? abs(w) : w * w;
  }
  if (p.norm_order == 0) return total;
  MK_UNROLL
  for (int g = 0; g < Grouping::groups; ++g) total += entry(p.norm, at) * (p.norm_order == 2 ? sqrt(norm[g]) : norm[g]);
  return total;
}

// Keeps the larger of `furthest` and the distance of a weight from -1, 0 and 1; a NaN stays.
template <class R>
MK_INLINE void measure_sparsity(R weight, double& furthest) {
  const double distance = penalty(Penalty::ternary, static_cast<double>(weight));
  if (!(distance <= furthest)) furthest = distance;
}

// The sparsity error of one model of one cell, from the derived numbers of evaluation: the largest distance of a weight
// from -1, 0 and 1, added over the cell's terms.
template <class Core, class R>
MK_INLINE double sparsity_error(int n, const R* derived, int64_t stride) {
  double furthest[sparsity_terms] = {};
  MK_UNROLL
  for (int k = 0; k < Core::weights(n); ++k)
    measure_sparsity(derived[Core::weight(n, k) * stride], furthest[Core::term(n, k)]);
  return furthest[0] + furthest[1];
}

}  // namespace mk::MK_ISA
