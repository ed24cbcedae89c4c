// The linear layer, softmax and cross-entropy, for one block of samples and all steps, in float or double.
// The loss of cells/softmax.h is averaged over samples and steps.
#pragma once
#include "cells/softmax.h"
#include "trainers/seq2seq/norm.h"
#include "trainers/seq2seq/products.h"

namespace mk::MK_ISA {

// scratch.norm holds the second norm.  Fills scratch.normed and scratch.logits [A][S] for step t.
template <class T>
void logits_of_step(const Team<T>& team, const SampleBlock<T>& block, int64_t t, const Scratch<T>& scratch) {
  using V = Pack<T>;
  const Sizes& z = team.z;
  const T* bias = team.parameter() + team.o.output_bias;
  normalise(0, z.F, Normalisation<T>(scratch), block.decoded + t * z.F * S, scratch.normed);
  product_of_samples(z.A, z.F, team.packed.output, scratch.normed, scratch.logits);
  for (int64_t a = 0; a < z.A; ++a) {
    const V b = splat<V>(bias[a]);
    for (int64_t s = 0; s < S; s += Number<V>::width)
      (V::load(scratch.logits + a * S + s) + b).store(scratch.logits + a * S + s);
  }
}

template <class T>
int target_of(const Team<T>& team, int64_t row, int64_t t) {
  return team.p.targets[row * team.z.Tout + t];
}

// Logits of step t become their gradients; returns the sum of the losses.
template <class T>
double cross_entropy(const Team<T>& team, int64_t b, int64_t t, T* logits) {
  using V = Pack<T>;
  constexpr int W = Number<V>::width;
  const Sizes& z = team.z;
  const int64_t valid = team.valid(b);
  const V share = splat<V>(T(1) / static_cast<T>(team.step.valid * z.Tout));
  double loss = 0;
  for (int64_t s = 0; s < S; s += W) {
    T chosen[W], total[W], target[W];
    for (int lane = 0; lane < W; ++lane) {
      const int token = s + lane < valid ? target_of(team, team.row(b, s + lane), t) : 0;
      target[lane] = static_cast<T>(token);
      chosen[lane] = logits[token * S + s + lane];
    }
    const auto load = [&](int64_t a) { return V::load(logits + a * S + s); };
    const auto store = [&](int64_t a, V value) { value.store(logits + a * S + s); };
    Softmax::forward<V>(z.A, load, store).store(total);
    for (int lane = 0; lane < W && s + lane < valid; ++lane)
      loss += static_cast<double>(total[lane]) - static_cast<double>(chosen[lane]);
    const V dloss = Present<T>{valid}(s)*share, targets = V::load(target);
    for (int64_t a = 0; a < z.A; ++a) {
      const V here = select(targets == splat<V>(static_cast<T>(a)), splat<V>(T(1)), splat<V>(T(0)));
      store(a, Softmax::cross_entropy_backward(load(a), here, dloss));
    }
  }
  return loss;
}

template <class T>
void output_block(const Team<T>& team, int64_t b, const Scratch<T>& scratch) {
  const Sizes& z = team.z;
  const SampleBlock<T> block = team.block(b);
  const Normalisation<T> norm(scratch);
  T *dweight = block.gradient + team.o.output, *dbias = block.gradient + team.o.output_bias;
  training_norm(team, 1, norm);
  fill(dweight, z.F * z.output_row, T(0));
  fill(dbias, z.output_row, T(0));
  fill(block.dnorm, 2 * z.feature_row, T(0));
  fill(scratch.logits + z.A * S, (z.output_row - z.A) * S, T(0));
  double loss = 0;
  for (int64_t t = 0; t < z.Tout; ++t) {
    T* dy = block.ddecoded + t * z.F4 * S;
    logits_of_step(team, block, t, scratch);
    loss += cross_entropy(team, b, t, scratch.logits);
    product_of_samples(z.F, z.A, team.packed.output_back, scratch.logits, dy);
    add_norm_gradient(0, z.F, norm, block.decoded + t * z.F * S, dy, z.feature_row, block.dnorm);
    transpose(scratch.logits, S, z.output_row, S, scratch.dgates_columns, z.output_row);
    add_outer(z.F, z.output_row, scratch.normed, scratch.dgates_columns, dweight);
    add_columns(z.output_row, scratch.dgates_columns, dbias);
  }
  *block.loss = loss / static_cast<double>(z.Tout);
}

// Evaluation: writes what is predicted and the block's score.  scratch.norm holds the second norm.
template <class T>
void score_block(const Team<T>& team, int64_t index, const Scratch<T>& scratch, const SampleBlock<T>& block) {
  const Sizes& z = team.z;
  const int64_t valid = team.valid(0), model = team.step.model, blocks = (team.p.samples + S - 1) / S;
  double loss = 0;
  int64_t right = 0;
  bool whole[S];
  for (int64_t s = 0; s < S; ++s) whole[s] = true;
  for (int64_t t = 0; t < z.Tout; ++t) {
    logits_of_step(team, block, t, scratch);
    for (int64_t s = 0; s < valid; ++s) {
      int64_t best = 0;
      for (int64_t a = 1; a < z.A; ++a)
        if (scratch.logits[a * S + s] > scratch.logits[best * S + s]) best = a;
      const int64_t row = team.row(0, s);
      if (team.p.predicted) team.p.predicted[(model * team.p.samples + row) * z.Tout + t] = static_cast<int8_t>(best);
      if (!team.p.targets) continue;
      const int target = target_of(team, row, t);
      right += best == target;
      whole[s] = whole[s] && best == target;
    }
    if (team.p.targets) loss += cross_entropy(team, 0, t, scratch.logits);
  }
  if (!team.p.targets) return;
  double* score = team.p.score + (model * blocks + index) * 3;
  int64_t sequences = 0;
  for (int64_t s = 0; s < valid; ++s) sequences += whole[s];
  score[0] = loss / static_cast<double>(z.Tout);
  score[1] = static_cast<double>(right);
  score[2] = static_cast<double>(sequences);
}

}  // namespace mk::MK_ISA
