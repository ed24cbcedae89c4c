// Batch normalisation over the samples, and the steps, of a minibatch, in float or double.
//   y = scale x + shift, scale = gamma / sqrt(var + eps), shift = beta - mean scale
//   dx = scale (dy - sum(dy) / N - x^ sum(dy x^) / N),   x^ = (x - mean) / sqrt(var + eps)
// A block keeps the mean of its values and the sum of their squared deviations from it; blocks are joined in their
// order.
#pragma once
#include "trainers/seq2seq/team.h"

namespace mk::MK_ISA {

template <class T>
struct Normalisation {
  T *scale, *shift, *mean, *inverse, *slope, *offset;  // dx = scale dy + slope (x - mean) + offset
  explicit Normalisation(const Scratch<T>& s)
      : scale(s.norm[0]), shift(s.norm[1]), mean(s.norm[2]), inverse(s.norm[3]), slope(s.norm[4]), offset(s.norm[5]) {}
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
  for (int64_t f = 0; f < row; f += Number<V>::width) {
    V total = splat<V>(T(0)), squares = total;
    const auto weight = [&](int64_t b) { return splat<V>(static_cast<T>(team.valid(b) * steps)); };
    for (int64_t b = 0; b < blocks; ++b) total = fma(weight(b), V::load(team.block(b).statistics[n] + f), total);
    const V middle = total * share;
    for (int64_t b = 0; b < blocks; ++b) {
      const T* from = team.block(b).statistics[n];
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
  const V eps = splat<V>(static_cast<T>(team.p.norm_eps)), one = splat<V>(T(1));
  for (int64_t f = 0; f < team.z.feature_row; f += Number<V>::width) {
    const V middle = V::load(mean + f), inverse = one / sqrt(V::load(variance + f) + eps);
    const V scale = V::load(gamma + f) * inverse;
    scale.store(out.scale + f);
    fma(-middle, scale, V::load(beta + f)).store(out.shift + f);
    middle.store(out.mean + f);
    inverse.store(out.inverse + f);
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

// The sums over the minibatch of norm n's gradient (0), and of it times the normalised values (1).
template <class T>
MK_INLINE Pack<T> joined_gradient(const Team<T>& team, int n, int which, int64_t f) {
  using V = Pack<T>;
  V sum = splat<V>(T(0));
  const int64_t at = which * team.z.feature_row + f;
  for (int64_t b = 0; b < team.used_blocks(); ++b) {
    const Block<T> block = team.block(b);
    if (n == 1) {
      sum = sum + V::load(block.dnorm + at);
    } else {
      for (const T* part : block.dnorm_first) sum = sum + V::load(part + at);
    }
  }
  return sum;
}

// What training_norm left, and slope and offset.
template <class T>
void backward_norm(const Team<T>& team, int n, const Normalisation<T>& out) {
  using V = Pack<T>;
  training_norm(team, n, out);
  if (!team.p.batch_norm) return;
  const V share = splat<V>(T(-1) / static_cast<T>(team.step.valid * (n == 0 ? 1 : team.z.Tout)));
  for (int64_t f = 0; f < team.z.feature_row; f += Number<V>::width) {
    const V scale = V::load(out.scale + f) * share;
    (scale * joined_gradient(team, n, 1, f) * V::load(out.inverse + f)).store(out.slope + f);
    (scale * joined_gradient(team, n, 0, f)).store(out.offset + f);
  }
}

// out [features][S] = the normalised values [features][S], features from `first` on.
template <class T>
MK_INLINE void normalise(int64_t first, int64_t features, const Normalisation<T>& norm, const T* values, T* out) {
  using V = Pack<T>;
  for (int64_t f = 0; f < features; ++f) {
    const V scale = splat<V>(norm.scale[first + f]), shift = splat<V>(norm.shift[first + f]);
    for (int64_t s = 0; s < S; s += Number<V>::width)
      fma(V::load(values + f * S + s), scale, shift).store(out + f * S + s);
  }
}

// Adds to the sums [2][feature_row] what gradients dy [features][S] of values [features][S] contribute; samples that do
// not exist have dy = 0.
template <class T>
MK_INLINE void add_norm_gradient(int64_t first, int64_t features, const Normalisation<T>& norm, const T* values,
                                 const T* dy, int64_t feature_row, T* sums) {
  using V = Pack<T>;
  for (int64_t f = 0; f < features; ++f) {
    V one = splat<V>(T(0)), times = one;
    const V mean = splat<V>(norm.mean[first + f]), inverse = splat<V>(norm.inverse[first + f]);
    for (int64_t s = 0; s < S; s += Number<V>::width) {
      const V d = V::load(dy + f * S + s);
      one = one + d;
      times = fma(d, (V::load(values + f * S + s) - mean) * inverse, times);
    }
    sums[first + f] += lane_sum(one);
    sums[feature_row + first + f] += lane_sum(times);
  }
}

}  // namespace mk::MK_ISA
