// Batch normalisation (cells/norm.h) over the samples, and the steps, of a minibatch, in float or double.  A block
// keeps the mean of its values and the sum of their squared deviations from it; blocks are joined in their order.
#pragma once
#include "cells/norm.h"
#include "trainers/seq2seq/team.h"

namespace mk::MK_ISA {

template <class T>
struct Normalisation {
  using V = Pack<T>;
  T *scale, *shift, *mean, *inverse, *slope, *offset;  // by feature, as cells/norm.h has them
  explicit Normalisation(const Scratch<T>& s)
      : scale(s.norm[0]), shift(s.norm[1]), mean(s.norm[2]), inverse(s.norm[3]), slope(s.norm[4]), offset(s.norm[5]) {}

  MK_INLINE V backward(int64_t f, V x, V dy) const {
    return BatchNorm::backward(x, dy, splat<V>(mean[f]), splat<V>(scale[f]), splat<V>(slope[f]), splat<V>(offset[f]));
  }
};

// Statistics of H features, given as [steps] times `stride` of [H][S]; out [2][feature_row].
template <class T>
void block_statistics(int64_t H, int64_t steps, int64_t stride, const T* values, int64_t valid, int64_t feature_row,
                      T* out) {
  using V = Pack<T>;
  constexpr int W = Number<V>::width;
  const Present<T> present{valid};
  const T share = T(1) / static_cast<T>(valid * steps);
  for (int64_t u = 0; u < H; ++u) {
    V sum = splat<V>(T(0)), squares = sum;
    for (int64_t t = 0; t < steps; ++t)
      for (int64_t s = 0; s < S; s += W) sum = fma(present(s), V::load(values + t * stride + u * S + s), sum);
    const T mean = lane_sum(sum) * share;
    for (int64_t t = 0; t < steps; ++t)
      for (int64_t s = 0; s < S; s += W) {
        const V d = (V::load(values + t * stride + u * S + s) - splat<V>(mean)) * present(s);
        squares = fma(d, d, squares);
      }
    out[u] = mean;
    out[feature_row + u] = lane_sum(squares);
  }
}

// The minibatch's mean and biased variance of norm n, from the blocks'.
template <class T>
void join_statistics(const Team<T>& team, int n, T* mean, T* variance) {
  using V = Pack<T>;
  const int64_t steps = n == 0 ? 1 : team.z.Tout, blocks = team.used_blocks(), row = team.z.feature_row;
  const V share = splat<V>(T(1) / static_cast<T>(team.step.valid * steps));
  const T* const statistics = team.block(0).statistics[n];
  for (int64_t f = 0; f < row; f += Number<V>::width) {
    V total = splat<V>(T(0)), squares = total;
    const auto weight = [&](int64_t b) { return splat<V>(static_cast<T>(team.valid(b) * steps)); };
    for (int64_t b = 0; b < blocks; ++b) total = fma(weight(b), V::load(team.in_block(b, statistics) + f), total);
    const V middle = total * share;
    for (int64_t b = 0; b < blocks; ++b) {
      const T* from = team.in_block(b, statistics);
      const V d = V::load(from + f) - middle;
      squares = squares + fma(weight(b) * d, d, V::load(from + row + f));
    }
    middle.store(mean + f);
    (squares * share).store(variance + f);
  }
}

// scale, shift, mean and inverse from a mean and a variance, which may stand in place of mean and inverse.
template <class T>
void prepare_norm(const Team<T>& team, int n, const T* mean, const T* variance, const Normalisation<T>& out) {
  using V = Pack<T>;
  const T *gamma = team.parameter() + team.o.norm[n].gamma, *beta = team.parameter() + team.o.norm[n].beta;
  const V eps = splat<V>(static_cast<T>(team.p.norm_eps));
  for (int64_t f = 0; f < team.z.feature_row; f += Number<V>::width) {
    const V middle = V::load(mean + f);
    const auto made = BatchNorm::prepare(middle, V::load(variance + f), V::load(gamma + f), V::load(beta + f), eps);
    made.scale.store(out.scale + f);
    made.shift.store(out.shift + f);
    middle.store(out.mean + f);
    made.inverse.store(out.inverse + f);
  }
}

template <class T>
void no_norm(const Team<T>& team, const Normalisation<T>& out) {
  for (int64_t f = 0; f < team.z.feature_row; ++f) {
    out.scale[f] = out.inverse[f] = T(1);
    out.shift[f] = out.mean[f] = out.slope[f] = out.offset[f] = T(0);
  }
}

template <class T>
void training_norm(const Team<T>& team, int n, const Normalisation<T>& out) {
  if (!team.p.batch_norm) return no_norm(team, out);
  join_statistics(team, n, out.mean, out.inverse);
  prepare_norm(team, n, out.mean, out.inverse, out);
}

// The sums over the minibatch of norm n's gradient, dbeta, and of it times the normalised values, dgamma.
template <class T>
struct JoinedGradients {
  using V = Pack<T>;
  const Team<T>& team;
  const T* parts[2];  // of the first block: dbeta, then dgamma
  int count;
  JoinedGradients(const Team<T>& of, int n) : team(of), count(n == 1 ? 1 : 2) {
    const SampleBlock<T> first = of.block(0);
    parts[0] = n == 1 ? first.dnorm : first.dnorm_first[0];
    parts[1] = first.dnorm_first[1];
  }
  V dbeta(int64_t f) const { return sum(f); }
  V dgamma(int64_t f) const { return sum(team.z.feature_row + f); }

 private:
  V sum(int64_t at) const {
    V total = splat<V>(T(0));
    for (int64_t b = 0; b < team.used_blocks(); ++b)
      for (int k = 0; k < count; ++k) total = total + V::load(team.in_block(b, parts[k]) + at);
    return total;
  }
};

// What training_norm left, and slope and offset.
template <class T>
void backward_norm(const Team<T>& team, int n, const Normalisation<T>& out) {
  using V = Pack<T>;
  training_norm(team, n, out);
  if (!team.p.batch_norm) return;
  const JoinedGradients<T> joined(team, n);
  const V share = splat<V>(T(-1) / static_cast<T>(team.step.valid * (n == 0 ? 1 : team.z.Tout)));
  for (int64_t f = 0; f < team.z.feature_row; f += Number<V>::width) {
    const auto made = BatchNorm::prepare_backward(V::load(out.scale + f), V::load(out.inverse + f), joined.dgamma(f),
                                                  joined.dbeta(f), share);
    made.slope.store(out.slope + f);
    made.offset.store(out.offset + f);
  }
}

// out [features][S] = the normalised values [features][S], features from `first` on.
template <class T>
MK_INLINE void normalise(int64_t first, int64_t features, const Normalisation<T>& norm, const T* values, T* out) {
  using V = Pack<T>;
  for (int64_t f = 0; f < features; ++f) {
    const V scale = splat<V>(norm.scale[first + f]), shift = splat<V>(norm.shift[first + f]);
    for (int64_t s = 0; s < S; s += Number<V>::width)
      BatchNorm::forward(V::load(values + f * S + s), scale, shift).store(out + f * S + s);
  }
}

// Adds to the sums [2][feature_row] what gradients dy [features][S] of values [features][S] contribute; samples that do
// not exist have dy = 0.
template <class T>
MK_INLINE void add_norm_gradient(int64_t first, int64_t features, const Normalisation<T>& norm, const T* values,
                                 const T* dy, int64_t feature_row, T* sums) {
  using V = Pack<T>;
  for (int64_t f = 0; f < features; ++f) {
    V dgamma = splat<V>(T(0)), dbeta = dgamma;
    const V mean = splat<V>(norm.mean[first + f]), inverse = splat<V>(norm.inverse[first + f]);
    for (int64_t s = 0; s < S; s += Number<V>::width)
      BatchNorm::gradients(V::load(values + f * S + s), V::load(dy + f * S + s), mean, inverse, dgamma, dbeta);
    sums[first + f] += lane_sum(dbeta);
    sums[feature_row + first + f] += lane_sum(dgamma);
  }
}

}  // namespace mk::MK_ISA
