// The end of a step: gradients of the blocks are added in their order, Adam in Keras' form (cells/optimiser.h) moves
// the parameters, and the weights are laid out anew for the products.  An item is one of the five groups of tensors.
#pragma once
#include "cells/optimiser.h"
#include "cells/scaled_gates.h"
#include "trainers/seq2seq/norm.h"

namespace mk::MK_ISA {

constexpr int64_t tensor_groups = 5;  // a direction of the encoder, of the decoder, the others; the last: all else

template <class T>
struct AllMoments {
  using V = Pack<T>;
  const KerasAdamStep<V> adam;
  T *parameter, *first, *second;

  AllMoments(const Team<T>& team)
      : adam{splat<V>(static_cast<T>(team.p.decay1)), splat<V>(static_cast<T>(team.p.decay2)),
             splat<V>(static_cast<T>(team.p.eps)),
             splat<V>(static_cast<const T*>(team.p.step)[team.step.begin / team.p.batch - team.p.first])},
        parameter(team.parameter()),
        first(static_cast<T*>(team.p.first_moment) + team.step.model * team.o.count),
        second(static_cast<T*>(team.p.second_moment) + team.step.model * team.o.count) {}

  MK_INLINE void operator()(int64_t at, V g) const {
    V p = V::load(parameter + at), m = V::load(first + at), v = V::load(second + at);
    adam(g, p, m, v);
    m.store(first + at);
    v.store(second + at);
    p.store(parameter + at);
  }
};

// The gradients of `count` parameters from `from` on.
template <class T>
void update_range(const Team<T>& team, int64_t from, int64_t count) {
  using V = Pack<T>;
  const AllMoments<T> moments(team);
  const T* const gradient = team.block(0).gradient;
  const int64_t blocks = team.used_blocks();
  for (int64_t at = from; at < from + count; at += Number<V>::width) {
    V g = V::load(gradient + at);
    for (int64_t b = 1; b < blocks; ++b) g = g + V::load(team.in_block(b, gradient) + at);
    moments(at, g);
  }
}

template <class T>
void update_norms(const Team<T>& team, const Scratch<T>& scratch) {
  using V = Pack<T>;
  const AllMoments<T> moments(team);
  const V decay = splat<V>(static_cast<T>(team.p.norm_decay));
  const int64_t row = team.z.feature_row;
  T *mean = scratch.norm[0], *variance = scratch.norm[1];
  for (int n = 0; n < 2; ++n) {
    join_statistics(team, n, mean, variance);
    T* running = team.running(n);
    const JoinedGradients<T> joined(team, n);
    for (int64_t f = 0; f < row; f += Number<V>::width) {
      moments(team.o.norm[n].gamma + f, joined.dgamma(f));
      moments(team.o.norm[n].beta + f, joined.dbeta(f));
      const V old_mean = V::load(running + f), old_variance = V::load(running + row + f);
      fma(decay, V::load(mean + f) - old_mean, old_mean).store(running + f);
      fma(decay, V::load(variance + f) - old_variance, old_variance).store(running + row + f);
    }
  }
}

// weight [inputs][row] times scale (row in a tile) as tiles of four outputs, [outputs / 4][inputs][4].
template <class T, class Scale>
void pack_outputs(int64_t outputs, int64_t inputs, int64_t row, const T* weight, const Scale& scale, T* out) {
  for (int64_t j = 0; j < outputs; j += row_tile)
    for (int64_t k = 0; k < inputs; ++k)
      for (int64_t r = 0; r < row_tile; ++r) *out++ = weight[k * row + j + r] * scale(r);
}

// weight [inputs][row] as tiles of four inputs, [inputs / 4][outputs][4]; zeros after the last input.
template <class T>
void pack_inputs(int64_t outputs, int64_t inputs, int64_t row, const T* weight, T* out) {
  for (int64_t k = 0; k < inputs; k += row_tile)
    for (int64_t j = 0; j < outputs; ++j)
      for (int64_t r = 0; r < row_tile; ++r) *out++ = k + r < inputs ? weight[(k + r) * row + j] : T(0);
}

template <class T>
void pack_group(const Team<T>& team, int64_t group) {
  const Sizes& z = team.z;
  const T* parameter = team.parameter();
  if (group == tensor_groups - 1) {
    const auto unscaled = [](int64_t) { return T(1); };
    pack_outputs(z.A, z.F, z.output_row, parameter + team.o.output, unscaled, team.packed.output);
    pack_inputs(z.A, z.F, z.output_row, parameter + team.o.output, team.packed.output_back);
    return;
  }
  const int64_t direction = group / 2;
  const bool encoder = group % 2 == 0;
  const auto& o = encoder ? team.o.encoder[direction] : team.o.decoder[direction];
  const auto& to = encoder ? team.packed.encoder[direction] : team.packed.decoder[direction];
  const T* bias = parameter + o.bias;
  pack_outputs(z.G, z.H, z.J, parameter + o.recurrent, ScaledGates::scale<T>, to.recurrent);
  pack_inputs(z.G, z.H, z.J, parameter + o.recurrent, to.recurrent_back);
  if (!encoder) {
    pack_outputs(z.G, z.F, z.J, parameter + o.input, ScaledGates::scale<T>, to.input);
    pack_inputs(z.G, z.F, z.J, parameter + o.input, to.input_back);
    for (int64_t j = 0; j < z.G; ++j) to.bias[j] = bias[j] * ScaledGates::scale<T>(j % gate_count);
    return;
  }
  const T* input = parameter + o.input;
  for (int64_t j = 0; j < z.G; ++j) {
    const T scale = ScaledGates::scale<T>(j % gate_count);
    T* row = to.table + j * z.table_row;
    fill(row, z.table_row, T(0));
    row[0] = bias[j] * scale;
    for (int64_t a = 0; a < z.A; ++a) row[a + 1] = (input[a * z.J + j] + bias[j]) * scale;
  }
}

template <class T>
void update_group(const Team<T>& team, int64_t group, const Scratch<T>& scratch) {
  const Sizes& z = team.z;
  if (group == tensor_groups - 1) {
    update_range(team, team.o.output, team.o.count - team.o.output);
    if (team.p.batch_norm) update_norms(team, scratch);
    for (int64_t b = 0; b < team.used_blocks(); ++b) team.p.loss[team.step.model] += *team.block(b).loss;
  } else {
    const int64_t direction = group / 2;
    const auto& o = group % 2 == 0 ? team.o.encoder[direction] : team.o.decoder[direction];
    update_range(team, o.input, o.bias + z.J - o.input);
  }
  pack_group(team, group);
}

}  // namespace mk::MK_ISA
