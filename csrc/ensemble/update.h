// What a model does with its gradient: penalties, clip, optimiser step, clamp.  The lanes of V are models.
#pragma once
#include "cells/optimiser.h"
#include "cells/penalty.h"
#include "ensemble/program.h"

namespace mk::MK_ISA {

// The entries of a program's schedules for one iteration.
template <class V, int groups>
struct Schedule {
  V step, correction, norm, penalty[groups];

  MK_INLINE Schedule(const Program& p, int64_t at)
      : step(entry(p.step, at)), correction(entry(p.correction, at)), norm(entry(p.norm, at)) {
    MK_UNROLL
    for (int g = 0; g < groups; ++g) penalty[g] = entry(p.penalty, g * (p.last - p.first) + at);
  }

  static MK_INLINE V entry(const void* table, int64_t at) { return splat<V>(static_cast<const Real<V>*>(table)[at]); }
};

// Adds the slopes of the discretisation and norm penalties to dp.
template <class Core, class V>
MK_INLINE void add_penalties(const Program& p, const Schedule<V, Core::groups>& at, int n, const V* raw, V* dp) {
  V norm[Core::groups];
  if (p.norm_order == 2) {
    MK_UNROLL
    for (int g = 0; g < Core::groups; ++g) norm[g] = constant<V>(0);
    MK_UNROLL
    for (int k = 0; k < Core::parameters(n); ++k) {
      V& sum = norm[Core::group(n, k)];
      sum = fma(raw[k], raw[k], sum);
    }
    MK_UNROLL
    for (int g = 0; g < Core::groups; ++g) norm[g] = sqrt(norm[g]);
  }
  MK_UNROLL
  for (int k = 0; k < Core::parameters(n); ++k) {
    const int g = Core::group(n, k);
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

// The sparsity error and the penalty of one model's parameters, in double: out[0] and out[1].
template <class Core, class R>
MK_INLINE void measure_penalties(const Program& p, int64_t at, int n, const R* parameter, int64_t stride, double* out) {
  double furthest[sparsity_terms + 1] = {}, norm[Core::groups] = {}, total = 0;
  const auto entry = [&](const void* table, int64_t index) {
    return static_cast<double>(static_cast<const R*>(table)[index]);
  };
  MK_UNROLL
  for (int k = 0; k < Core::parameters(n); ++k) {
    const int g = Core::group(n, k);
    const double w = static_cast<double>(parameter[k * stride]), distance = penalty(Penalty::ternary, w);
    double& far = furthest[p.group[g].sparsity];
    if (!(distance <= far)) far = distance;  // a NaN stays
    total += entry(p.penalty, g * (p.last - p.first) + at) * penalty(static_cast<Penalty>(p.group[g].penalty), w);
    norm[g] += p.norm_order == 1 ? abs(w) : w * w;
  }
  if (p.norm_order) {
    MK_UNROLL
    for (int g = 0; g < Core::groups; ++g) total += entry(p.norm, at) * (p.norm_order == 2 ? sqrt(norm[g]) : norm[g]);
  }
  out[0] = furthest[1] + furthest[2];
  out[1] = total;
}

// The optimiser's step and the clamp that follows it.
template <class Core, class V>
MK_INLINE void step_parameters(const Program& p, const Schedule<V, Core::groups>& at, int n, const V* dp, V* raw,
                               V* first, V* second) {
  const AdamStep<V> adam{
      constant<V>(p.decay1), constant<V>(p.beta2), constant<V>(p.decay2), constant<V>(p.eps), at.step, at.correction};
  const SgdStep<V> sgd{constant<V>(p.momentum), at.step};
  MK_UNROLL
  for (int k = 0; k < Core::parameters(n); ++k) {
    if (p.optimiser == static_cast<int64_t>(OptimiserKind::adam))
      adam(dp[k], raw[k], first[k], second[k]);
    else
      sgd(dp[k], raw[k], first[k]);
    const Group& group = p.group[Core::group(n, k)];
    if (group.clamped) raw[k] = clamp(raw[k], constant<V>(group.low), constant<V>(group.high));
  }
}

}  // namespace mk::MK_ISA
