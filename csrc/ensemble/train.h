// Trains one tile of models through the iterations of a program: sample, forward, analytic backward, penalties,
// gradient clip, optimiser step, clamp, and evaluation.  Two kinds of lanes alternate: models in prepare and update,
// samples in between.  N is the number of inputs if it is known at compile time, else 0.
#pragma once
#include <type_traits>

#include "ensemble/draw.h"
#include "ensemble/evaluate.h"
#include "ensemble/operation.h"
#include "ensemble/update.h"

namespace mk::MK_ISA {

template <class Core, int N, class R>
struct Trainer {
  using V = Pack<R>;
  static constexpr int width = Number<V>::width;
  static constexpr int capacity = N ? N : max_inputs;
  static constexpr int model_packs = width < tile_models ? width : tile_models;
  using M = Vec<R, model_packs>;  // a pack of models

  const Program& p;
  const int64_t tile;
  const int models;
  const CellOptions<R> options;
  R* const streams;  // [slot][input][sample]
  // zero behind the last model: what is computed there is ignored, but numbers like denormals would cost time
  R derived[Core::derived(capacity) * tile_models] = {};
  R gradient[Core::gradients(capacity) * tile_models] = {};

  Trainer(const Program& program, int64_t index, void* scratch)
      : p(program),
        tile(index),
        models(program.models[index]),
        options{static_cast<R>(program.epsilon)},
        streams(static_cast<R*>(scratch)) {}

  // Constants in every function where N is known, so that loops over inputs unroll.
  MK_INLINE int inputs() const { return N ? N : static_cast<int>(p.inputs); }

  template <class Pointer>
  MK_INLINE R* per_model(Pointer base, int64_t rows) const {
    return static_cast<R*>(const_cast<void*>(static_cast<const void*>(base))) + tile * rows * tile_models;
  }

  template <Mode mode>
  MK_INLINE void prepare() {
    const int n = inputs(), parameters = Core::parameters(n);
    const R* parameter = per_model(p.parameter, parameters);
    const R* negative = per_model(p.negative, n);
    for (int m = 0; m < models; m += M::lanes) {
      M raw[Core::parameters(capacity)], signs[capacity], made[Core::derived(capacity)];
      for (int k = 0; k < parameters; ++k) raw[k] = M::load(parameter + k * tile_models + m);
      for (int i = 0; i < n; ++i) signs[i] = M::load(negative + i * tile_models + m);
      Core::template prepare<mode>(n, options, signs, raw, made);
      for (int k = 0; k < Core::derived(n); ++k) made[k].store(derived + k * tile_models + m);
    }
  }

  // O is Operation, or an integral_constant of it where the inner loop shall have no switch.
  template <class O>
  MK_INLINE V target(O operation, const V* x, const int32_t* subset) const {
    V a, b;
    if constexpr (N == 2) {  // see plain_pairs()
      a = x[0];
      b = x[1];
    } else {
      a = x[subset[0]];
      for (int k = 1; k < subset[1]; ++k) a = a + x[subset[0] + k];
      b = x[subset[2]];
      for (int k = 1; k < subset[3]; ++k) b = b + x[subset[2] + k];
    }
    return apply(static_cast<Operation>(operation), a, b);
  }

  // Calls f with the program's operation and criterion, as compile-time constants where speed is asked for.
  template <class F>
  MK_INLINE void with_loss(F f) const {
    const auto operation = static_cast<Operation>(p.operation);
    const auto criterion = static_cast<Criterion>(p.criterion);
    if constexpr (N != 0) {
      const std::integral_constant<Criterion, Criterion::mse> mse;
      if (criterion == mse && operation == Operation::div)
        return f(std::integral_constant<Operation, Operation::div>{}, mse);
      if (criterion == mse && operation == Operation::mul)
        return f(std::integral_constant<Operation, Operation::mul>{}, mse);
    }
    f(operation, criterion);
  }

  // What a model reads in the loops over the batch.
  struct Batch {
    const R* stream;
    const int32_t* subset;
    V d[Core::derived(capacity)], scale[capacity], offset[capacity];

    MK_INLINE Batch(const Trainer& t, int m)
        : stream(t.streams + int64_t{t.p.slot[t.tile * tile_models + m]} * t.inputs() * t.p.batch),
          subset(t.p.subset + (t.tile * tile_models + m) * 4) {
      const int n = t.inputs();
      const R *scales = t.per_model(t.p.scale, n) + m, *offsets = t.per_model(t.p.offset, n) + m;
      for (int k = 0; k < Core::derived(n); ++k) d[k] = splat<V>(t.derived[k * tile_models + m]);
      for (int i = 0; i < n; ++i) {
        scale[i] = splat<V>(scales[i * tile_models]);
        offset[i] = splat<V>(offsets[i * tile_models]);
      }
    }
    MK_INLINE void sample(int n, int batch, int s, V* x) const {
      for (int i = 0; i < n; ++i) x[i] = fma(V::load(stream + i * batch + s), scale[i], offset[i]);
    }
  };

  // f(s) added over the batch in the order of every sum: 32 columns, then a balanced tree.
  template <class F>
  MK_INLINE R batch_sum(F f) const {
    constexpr int packs = columns / width;
    V partial[packs];
    for (int first = 0; first < packs; ++first) {
      partial[first] = constant<V>(0);
      for (int s = first * width; s < p.batch; s += columns) partial[first] = partial[first] + f(s);
    }
    for (int half = packs / 2; half > 0; half /= 2)
      for (int a = 0; a < half; ++a) partial[a] = partial[a] + partial[a + half];
    return lane_sum(partial[0]);
  }

  // What the slope of the loss needs of the whole batch, and the loss itself.
  struct Moments {
    V mean_z, mean_t, along_z, along_t;  // Pearson's correlation: dz = along_z (z - mean_z) + along_t (t - mean_t)
    R loss;
  };

  // Forward over the batch in training mode.  Pearson's correlation as the published criterion has it:
  //   rho = mean(vz / (sz + e) * vt / (st + e)),  v = values - mean,  s = sqrt(max(mean v^2, e)),  e = 2^-23
  __attribute__((noinline)) Moments moments(int m) {
    const int n = inputs(), batch = static_cast<int>(p.batch);
    const Batch b(*this, m);
    R* z = streams + int64_t{tile_models} * n * batch;
    R* t = z + batch;
    for (int s = 0; s < batch; s += width) {
      V x[capacity], saved[Core::saved(capacity) + 1];
      b.sample(n, batch, s, x);
      Core::template forward<Mode::training>(n, options, x, b.d, saved).store(z + s);
      target(static_cast<Operation>(p.operation), x, b.subset).store(t + s);
    }
    const V e = constant<V>(0x1p-23), share = constant<V>(1) / splat<V>(static_cast<R>(p.batch));
    const auto mean = [&](auto f) { return splat<V>(batch_sum(f)) * share; };
    if (p.criterion == static_cast<int64_t>(Criterion::mape)) {
      const V loss = mean([&](int s) { return abs((V::load(t + s) - V::load(z + s)) / V::load(t + s)); });
      return {e, e, e, e, loss[0]};
    }
    const V mean_z = mean([&](int s) { return V::load(z + s); }), mean_t = mean([&](int s) { return V::load(t + s); });
    const auto vz = [&](int s) { return V::load(z + s) - mean_z; };
    const auto vt = [&](int s) { return V::load(t + s) - mean_t; };
    const V square_z = mean([&](int s) { return vz(s) * vz(s); }),
            square_t = mean([&](int s) { return vt(s) * vt(s); });
    const V sz = sqrt(select(square_z < e, e, square_z)), st = sqrt(select(square_t < e, e, square_t));
    const V rho = mean([&](int s) { return vz(s) / (sz + e) * (vt(s) / (st + e)); });
    const V along_z = select(square_z < e, constant<V>(0), rho / ((sz + e) * sz));
    return {mean_z, mean_t, along_z, constant<V>(-1) / ((sz + e) * (st + e)), R{1} - rho[0]};
  }

  // The slope of the loss at one sample, without the factor of the mean (2 / batch or 1 / batch).
  template <class C>
  static MK_INLINE V slope(C criterion, const Moments& at, V z, V t) {
    switch (static_cast<Criterion>(criterion)) {
      case Criterion::pcc:
        return fma(at.along_z, z - at.mean_z, at.along_t * (t - at.mean_t));
      case Criterion::mape:
        return sign(z - t) / abs(t);
      default:
        return z - t;
    }
  }

  // The sums over the batch of one model's gradients, without the factor of the mean.
  template <class O, class C>
  __attribute__((noinline)) void sum_gradients(int m, O operation, C criterion) {
    constexpr int packs = columns / width;
    const int n = inputs();
    const int batch = static_cast<int>(p.batch), count = Core::gradients(n);
    const Batch b(*this, m);
    [[maybe_unused]] Moments at;
    if (static_cast<Criterion>(criterion) == Criterion::pcc) at = moments(m);
    V partial[packs][Core::gradients(capacity)];
    for (int first = 0; first < packs; ++first) {
      V g[Core::gradients(capacity)];
      for (int k = 0; k < count; ++k) g[k] = constant<V>(0);
      for (int s = first * width; s < batch; s += columns) {
        V x[capacity], saved[Core::saved(capacity) + 1];
        b.sample(n, batch, s, x);
        const V z = Core::template forward<Mode::training>(n, options, x, b.d, saved);
        const V dz = slope(criterion, at, z, target(operation, x, b.subset));
        Core::template backward<false>(n, options, x, b.d, saved, dz, g, static_cast<V*>(nullptr));
      }
      for (int k = 0; k < count; ++k) partial[first][k] = g[k];
    }
    for (int k = 0; k < count; ++k) {
      for (int half = packs / 2; half > 0; half /= 2)
        for (int a = 0; a < half; ++a) partial[a][k] = partial[a][k] + partial[a + half][k];
      gradient[k * tile_models + m] = lane_sum(partial[0][k]);
    }
  }

  MK_INLINE void update(int64_t t) {
    const int n = inputs(), parameters = Core::parameters(n);
    R* parameter = per_model(p.parameter, parameters);
    R* first_moment = per_model(p.first_moment, parameters);
    R* second_moment = per_model(p.second_moment, parameters);
    const Schedule<M, Core::groups> at(p, t - p.first);
    const R factor = p.criterion == static_cast<int64_t>(Criterion::mse) ? R{2} : R{1};
    const M mean = splat<M>(factor / static_cast<R>(p.batch));
    for (int m = 0; m < models; m += M::lanes) {
      M raw[Core::parameters(capacity)], first[Core::parameters(capacity)], second[Core::parameters(capacity)];
      M made[Core::derived(capacity)], sum[Core::gradients(capacity)], dp[Core::parameters(capacity)];
      for (int k = 0; k < parameters; ++k) {
        raw[k] = M::load(parameter + k * tile_models + m);
        first[k] = M::load(first_moment + k * tile_models + m);
        second[k] = M::load(second_moment + k * tile_models + m);
      }
      for (int k = 0; k < Core::derived(n); ++k) made[k] = M::load(derived + k * tile_models + m);
      for (int k = 0; k < Core::gradients(n); ++k) sum[k] = M::load(gradient + k * tile_models + m);
      Core::finish(n, raw, made, sum, dp);
      for (int k = 0; k < parameters; ++k) dp[k] = dp[k] * mean;
      add_penalties<Core>(p, at, n, raw, dp);
      if (p.clip_norm > 0) clip_gradient(p, parameters, dp);
      step_parameters<Core>(p, at, n, dp, raw, first, second);
      for (int k = 0; k < parameters; ++k) {
        raw[k].store(parameter + k * tile_models + m);
        first[k].store(first_moment + k * tile_models + m);
        second[k].store(second_moment + k * tile_models + m);
      }
    }
  }

  __attribute__((noinline)) void write_row(int m, int64_t iteration) {
    const int n = inputs(), parameters = Core::parameters(n);
    const int64_t index = tile * tile_models + m, row = iteration / p.evaluate_every;
    double* out = p.rows + (index * p.row_capacity + row) * row_columns;
    const R* parameter = per_model(p.parameter, parameters) + m;
    V d[Core::derived(capacity)];
    for (int k = 0; k < Core::derived(n); ++k) d[k] = splat<V>(derived[k * tile_models + m]);
    const auto error = [&](const uint64_t* x, const uint64_t* t, int64_t count) {
      return mean_squared_error<Core, Mode::evaluation, N>(n, options, reinterpret_cast<const R*>(x[index]),
                                                           reinterpret_cast<const R*>(t[index]), count, d);
    };
    out[0] = error(p.valid_inputs, p.valid_target, p.valid_count);
    out[1] = error(p.test_inputs, p.test_target, p.test_count);
    double measured[2];
    measure_penalties<Core>(p, iteration - p.first, n, parameter, tile_models, measured);
    out[2] = measured[0];
    out[4] = measured[1];
    if (out[0] < p.best_valid[index]) {
      p.best_valid[index] = out[0];
      p.best_row[index] = static_cast<int32_t>(row);
      R* best = per_model(p.best, parameters) + m;
      for (int k = 0; k < parameters; ++k) best[k * tile_models] = parameter[k * tile_models];
    }
  }

  // The training loss of the batch that the coming update uses, in training mode.
  __attribute__((noinline)) void write_loss(int m, int64_t iteration) {
    const int n = inputs(), batch = static_cast<int>(p.batch);
    double& loss = p.rows[((tile * tile_models + m) * p.row_capacity + iteration / p.evaluate_every) * row_columns + 3];
    if (p.criterion != static_cast<int64_t>(Criterion::mse)) {
      loss = static_cast<double>(moments(m).loss);
      return;
    }
    const Batch b(*this, m);
    R* inside = streams + int64_t{tile_models} * n * batch;
    R* wanted = inside + n * batch;
    for (int s = 0; s < batch; s += width) {
      V x[capacity];
      b.sample(n, batch, s, x);
      for (int i = 0; i < n; ++i) x[i].store(inside + i * batch + s);
      target(static_cast<Operation>(p.operation), x, b.subset).store(wanted + s);
    }
    loss = mean_squared_error<Core, Mode::training, N>(n, options, inside, wanted, batch, b.d);
  }

  void run() {
    for (int64_t t = p.first; t < p.last; ++t) {
      draw_tile(p, tile, t, streams);
      if (t % p.evaluate_every == 0) {
        prepare<Mode::evaluation>();
        for (int m = 0; m < models; ++m) write_row(m, t);
        prepare<Mode::training>();
        for (int m = 0; m < models; ++m) write_loss(m, t);
      }
      prepare<Mode::training>();
      with_loss([&](auto operation, auto criterion) {
        for (int m = 0; m < models; ++m) sum_gradients(m, operation, criterion);
      });
      update(t);
    }
  }
};

template <class Core, int N, class R>
void train_tile(const Program& p, int64_t tile, void* scratch) {
  Trainer<Core, N, R>(p, tile, scratch).run();
}

// Whether a is the first and b the second input of every model.
MK_INLINE bool plain_pairs(const Program& p) {
  for (int64_t tile = 0; tile < p.tiles; ++tile)
    for (int m = 0; m < p.models[tile]; ++m) {
      const int32_t* s = p.subset + (tile * tile_models + m) * 4;
      if (s[0] != 0 || s[1] != 1 || s[2] != 1 || s[3] != 1) return false;
    }
  return true;
}

// Loops with the number of inputs known at compile time are made where speed is asked for: float, a wide instruction
// set, and then of the core Fast, which may ask more of the data than General (`fast` says whether they have it). N = 2
// also fixes which input is a and which is b.
template <class General, class Fast = General>
TrainTile* choose(const Program& p, [[maybe_unused]] bool fast = true) {
  if (p.dtype == 1) return train_tile<General, 0, double>;
#if defined(__AVX2__) || defined(__ARM_NEON)
  if (fast && p.inputs == 10) return train_tile<Fast, 10, float>;
  if (fast && p.inputs == 2 && plain_pairs(p)) return train_tile<Fast, 2, float>;
#endif
  return train_tile<General, 0, float>;
}

}  // namespace mk::MK_ISA
