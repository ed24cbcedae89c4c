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

  // Calls f with the program's operation, as a compile-time constant where speed is asked for.
  template <class F>
  MK_INLINE void with_operation(F f) const {
    const auto operation = static_cast<Operation>(p.operation);
    if constexpr (N != 0) {
      if (operation == Operation::div) return f(std::integral_constant<Operation, Operation::div>{});
      if (operation == Operation::mul) return f(std::integral_constant<Operation, Operation::mul>{});
    }
    f(operation);
  }

  // The sums over the batch of one model's gradients, without the factor 2 / batch of the mean squared error.
  template <class O>
  __attribute__((noinline)) void sum_gradients(int m, O operation) {
    constexpr int packs = columns / width;
    const int n = inputs();
    const int batch = static_cast<int>(p.batch), count = Core::gradients(n);
    const int64_t index = tile * tile_models + m;
    const R* stream = streams + int64_t{p.slot[index]} * n * batch;
    const R* scales = per_model(p.scale, n) + m;
    const R* offsets = per_model(p.offset, n) + m;
    V d[Core::derived(capacity)], scale[capacity], offset[capacity], partial[packs][Core::gradients(capacity)];
    for (int k = 0; k < Core::derived(n); ++k) d[k] = splat<V>(derived[k * tile_models + m]);
    for (int i = 0; i < n; ++i) {
      scale[i] = splat<V>(scales[i * tile_models]);
      offset[i] = splat<V>(offsets[i * tile_models]);
    }
    for (int first = 0; first < packs; ++first) {
      V g[Core::gradients(capacity)];
      for (int k = 0; k < count; ++k) g[k] = constant<V>(0);
      for (int s = first * width; s < batch; s += columns) {
        V x[capacity], saved[Core::saved(capacity) + 1];
        for (int i = 0; i < n; ++i) x[i] = fma(V::load(stream + i * batch + s), scale[i], offset[i]);
        const V error = Core::template forward<Mode::training>(n, options, x, d, saved) -
                        target(operation, x, p.subset + index * 4);
        Core::template backward<false>(n, options, x, d, saved, error, g, static_cast<V*>(nullptr));
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
    const Schedule<M> at(p, t - p.first);
    const M mean = splat<M>(R{2} / static_cast<R>(p.batch));
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
      add_penalties(p, at, parameters, raw, dp);
      if (p.clip_norm > 0) clip_gradient(p, parameters, dp);
      step_parameters(p, at, parameters, dp, raw, first, second);
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
    double sparsity = 0, total = 0, norms[2] = {0, 0};
    const auto at = [&](const void* table) {
      return static_cast<double>(static_cast<const R*>(table)[iteration - p.first]);
    };
    for (int k = 0; k < parameters; ++k) {
      const bool weight = k < p.weights;
      const double w = static_cast<double>(parameter[k * tile_models]);
      const double distance = penalty(Penalty::ternary, w);
      if (weight && !(distance <= sparsity)) sparsity = distance;  // a NaN stays
      const auto kind = static_cast<Penalty>(weight ? p.weight_penalty_kind : p.gate_penalty_kind);
      total += at(weight ? p.weight_penalty : p.gate_penalty) * penalty(kind, w);
      norms[weight ? 0 : 1] += p.norm_order == 1 ? abs(w) : w * w;
    }
    if (p.norm_order == 2) {
      norms[0] = sqrt(norms[0]);
      norms[1] = sqrt(norms[1]);
    }
    if (p.norm_order) total += at(p.norm) * (norms[0] + norms[1]);
    out[2] = sparsity;
    out[4] = total;
    if (out[0] < p.best_valid[index]) {
      p.best_valid[index] = out[0];
      p.best_row[index] = static_cast<int32_t>(row);
      R* best = per_model(p.best, parameters) + m;
      for (int k = 0; k < parameters; ++k) best[k * tile_models] = parameter[k * tile_models];
    }
  }

  // The training loss of the batch that the coming update uses, in training mode.
  __attribute__((noinline)) void write_loss(int m, int64_t iteration) {
    const int n = inputs();
    const int64_t index = tile * tile_models + m, row = iteration / p.evaluate_every;
    const int batch = static_cast<int>(p.batch);
    const R* stream = streams + int64_t{p.slot[index]} * n * batch;
    R* x = streams + int64_t{tile_models} * n * batch;
    R* t = x + n * batch;
    for (int s = 0; s < batch; s += width) {
      V sample[capacity];
      for (int i = 0; i < n; ++i) {
        const R scale = per_model(p.scale, n)[i * tile_models + m],
                offset = per_model(p.offset, n)[i * tile_models + m];
        sample[i] = fma(V::load(stream + i * batch + s), splat<V>(scale), splat<V>(offset));
        sample[i].store(x + i * batch + s);
      }
      target(static_cast<Operation>(p.operation), sample, p.subset + index * 4).store(t + s);
    }
    V d[Core::derived(capacity)];
    for (int k = 0; k < Core::derived(n); ++k) d[k] = splat<V>(derived[k * tile_models + m]);
    p.rows[(index * p.row_capacity + row) * row_columns + 3] =
        mean_squared_error<Core, Mode::training, N>(n, options, x, t, batch, d);
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
      with_operation([&](auto operation) {
        for (int m = 0; m < models; ++m) sum_gradients(m, operation);
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
