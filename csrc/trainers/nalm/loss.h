// What a run is trained on: the target of a sample, the slope of the loss at it, and sums over a batch.
#pragma once
#include "common/lanes.h"
#include "trainers/nalm/evaluate.h"
#include "trainers/nalm/operation.h"

namespace mk::MK_ISA {

// `subset` holds first and size of a's inputs, first and size of b's; see apply_to_sums for `least`.
template <class V>
MK_INLINE V subset_target(Operation operation, const V* x, const int32_t* subset, V least) {
  V a = x[subset[0]], b = x[subset[2]];
  for (int k = 1; k < subset[1]; ++k) a = a + x[subset[0] + k];
  for (int k = 1; k < subset[3]; ++k) b = b + x[subset[2] + k];
  return apply_to_sums(operation, a, b, least);
}

// f(s) added over the samples s of a batch in the order of every sum: 32 columns, then a balanced tree.
template <class R, class F>
MK_INLINE R batch_sum(int64_t batch, F f) {
  using V = Pack<R>;
  constexpr int width = Number<V>::width, packs = columns / width;
  V partial[packs];
  for (int first = 0; first < packs; ++first) {
    partial[first] = constant<V>(0);
    for (int64_t s = first * width; s < batch; s += columns) partial[first] = partial[first] + f(s);
  }
  for (int half = packs / 2; half > 0; half /= 2)
    for (int a = 0; a < half; ++a) partial[a] = partial[a] + partial[a + half];
  return lane_sum(partial[0]);
}

// What the slope of the loss needs of the whole batch, and the loss itself.
template <class R>
struct Moments {
  Pack<R> mean_z, mean_t, along_z, along_t;  // Pearson: dz = along_z (z - mean_z) + along_t (t - mean_t)
  double loss;
};

// The size of a target, by which a percentage error divides; `least` stands for 0.
template <class V>
MK_INLINE V target_size(V t, V least) {
  return select(t == constant<V>(0), least, abs(t));
}

// Of the outputs z and targets t of a batch.  Pearson's correlation as the published criterion has it:
//   rho = mean(vz / (sz + e) * vt / (st + e)),  v = values - mean,  s = sqrt(max(mean v^2, e)),  e = 2^-23
template <class R>
__attribute__((noinline)) Moments<R> batch_moments(const Program& p, const R* z, const R* t, Pack<R> least) {
  using V = Pack<R>;
  const V e = constant<V>(0x1p-23), share = constant<V>(1) / splat<V>(static_cast<R>(p.batch));
  const auto mean = [&](auto f) { return splat<V>(batch_sum<R>(p.batch, f)) * share; };
  if (p.criterion == static_cast<int64_t>(Criterion::mape)) {
    const V loss =
        mean([&](int64_t s) { return abs(V::load(t + s) - V::load(z + s)) / target_size(V::load(t + s), least); });
    return {e, e, e, e, static_cast<double>(loss[0])};
  }
  if (p.criterion == static_cast<int64_t>(Criterion::mse)) {
    V sample[1];
    return {e, e, e, e, mean_squared_error<R>(1, z, t, p.batch, sample, [](const V* x) { return x[0]; })};
  }
  const V mean_z = mean([&](int64_t s) { return V::load(z + s); });
  const V mean_t = mean([&](int64_t s) { return V::load(t + s); });
  const auto vz = [&](int64_t s) { return V::load(z + s) - mean_z; };
  const auto vt = [&](int64_t s) { return V::load(t + s) - mean_t; };
  const V square_z = mean([&](int64_t s) { return vz(s) * vz(s); });
  const V square_t = mean([&](int64_t s) { return vt(s) * vt(s); });
  const V sz = sqrt(select(square_z < e, e, square_z)), st = sqrt(select(square_t < e, e, square_t));
  const V rho = mean([&](int64_t s) { return vz(s) / (sz + e) * (vt(s) / (st + e)); });
  const V along_z = select(square_z < e, constant<V>(0), rho / ((sz + e) * sz));
  return {mean_z, mean_t, along_z, constant<V>(-1) / ((sz + e) * (st + e)), 1 - static_cast<double>(rho[0])};
}

// The slope of the loss at one sample, without the factor of the mean (2 / batch or 1 / batch).  C is Criterion, or an
// integral_constant of it where the inner loop shall have no switch.
template <class C, class R>
MK_INLINE Pack<R> slope(C criterion, const Moments<R>& at, Pack<R> z, Pack<R> t, Pack<R> least) {
  switch (static_cast<Criterion>(criterion)) {
    case Criterion::pcc:
      return fma(at.along_z, z - at.mean_z, at.along_t * (t - at.mean_t));
    case Criterion::mape:
      return sign(z - t) / target_size(t, least);
    default:
      return z - t;
  }
}

// The factor of the mean: 2 / batch for mean squared errors, else 1 / batch.
template <class R>
MK_INLINE R mean_factor(const Program& p) {
  return (p.criterion == static_cast<int64_t>(Criterion::mse) ? R{2} : R{1}) / static_cast<R>(p.batch);
}

}  // namespace mk::MK_ISA
