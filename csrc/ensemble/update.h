// What a model does with its gradient: penalties, clip, optimiser step, clamp.  The lanes of V are models.
#pragma once
#include "cells/optimiser.h"
#include "cells/penalty.h"
#include "ensemble/program.h"

namespace mk::MK_ISA {

// The entries of a program's schedules for one iteration.
template <class V>
struct Schedule {
  V step, correction, weight_penalty, gate_penalty, norm;

  MK_INLINE Schedule(const Program& p, int64_t at)
      : step(entry(p.step, at)),
        correction(entry(p.correction, at)),
        weight_penalty(entry(p.weight_penalty, at)),
        gate_penalty(entry(p.gate_penalty, at)),
        norm(entry(p.norm, at)) {}

  static MK_INLINE V entry(const void* table, int64_t at) { return splat<V>(static_cast<const Real<V>*>(table)[at]); }
};

// Adds the slopes of the discretisation and norm penalties to dp.
template <class V>
MK_INLINE void add_penalties(const Program& p, const Schedule<V>& at, int parameters, const V* raw, V* dp) {
  const int weights = static_cast<int>(p.weights);
  V weight_norm = constant<V>(0), gate_norm = constant<V>(0);
  if (p.norm_order == 2) {
    MK_UNROLL
    for (int k = 0; k < parameters; ++k)
      if (k < weights)
        weight_norm = fma(raw[k], raw[k], weight_norm);
      else
        gate_norm = fma(raw[k], raw[k], gate_norm);
    weight_norm = sqrt(weight_norm);
    gate_norm = sqrt(gate_norm);
  }
  MK_UNROLL
  for (int k = 0; k < parameters; ++k) {
    const bool weight = k < weights;
    const auto kind = static_cast<Penalty>(weight ? p.weight_penalty_kind : p.gate_penalty_kind);
    if (kind != Penalty::none)
      dp[k] = fma(weight ? at.weight_penalty : at.gate_penalty, penalty_slope(kind, raw[k]), dp[k]);
    if (p.norm_order == 1) dp[k] = fma(at.norm, sign(raw[k]), dp[k]);
    if (p.norm_order == 2) {
      const V norm = weight ? weight_norm : gate_norm;
      dp[k] = dp[k] + select(norm > constant<V>(0), at.norm * (raw[k] / norm), constant<V>(0));
    }
  }
}

// Scales dp so that its Euclidean norm is at most p.clip_norm, as torch.nn.utils.clip_grad_norm_ does.
template <class V>
MK_INLINE void clip_gradient(const Program& p, int parameters, V* dp) {
  V square = constant<V>(0);
  MK_UNROLL
  for (int k = 0; k < parameters; ++k) square = fma(dp[k], dp[k], square);
  const V ratio = splat<V>(static_cast<Real<V>>(p.clip_norm)) / (sqrt(square) + constant<V>(1e-6));
  const V factor = select(ratio > constant<V>(1), constant<V>(1), ratio);
  MK_UNROLL
  for (int k = 0; k < parameters; ++k) dp[k] = dp[k] * factor;
}

// The optimiser's step and the clamp that follows it.
template <class V>
MK_INLINE void step_parameters(const Program& p, const Schedule<V>& at, int parameters, const V* dp, V* raw, V* first,
                               V* second) {
  const AdamStep<V> adam{
      constant<V>(p.decay1), constant<V>(p.beta2), constant<V>(p.decay2), constant<V>(p.eps), at.step, at.correction};
  const SgdStep<V> sgd{constant<V>(p.momentum), at.step};
  MK_UNROLL
  for (int k = 0; k < parameters; ++k) {
    if (p.optimiser == static_cast<int64_t>(OptimiserKind::adam))
      adam(dp[k], raw[k], first[k], second[k]);
    else
      sgd(dp[k], raw[k], first[k]);
    const bool weight = k < p.weights;
    if (weight ? p.clamp_weights : p.clamp_gates)
      raw[k] = clamp(raw[k], constant<V>(weight ? p.weight_low : 0.0), constant<V>(weight ? p.weight_high : 1.0));
  }
}

}  // namespace mk::MK_ISA
