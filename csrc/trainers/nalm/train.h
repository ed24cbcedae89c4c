// Trains one tile of models of one cell through the iterations of a program: sample, forward, analytic backward,
// penalties, gradient clip, optimiser step, clamp, and evaluation.  Two kinds of lanes alternate: models in prepare and
// update, samples in between.  N is the number of inputs: here every size is known at compile time, so that loops over
// inputs unroll and a model's numbers stay in registers.  train_any.h is the trainer for all other programs.
#pragma once
#include <type_traits>

#include "trainers/nalm/draw.h"
#include "trainers/nalm/evaluate.h"
#include "trainers/nalm/loss.h"
#include "trainers/nalm/restart.h"
#include "trainers/nalm/update.h"

namespace mk::MK_ISA {

template <class Core, int N, class R>
struct Trainer {
  using V = Pack<R>;  // of samples or of models
  static constexpr int width = Number<V>::width;
  static_assert(tile_models % width == 0, "a tile is a whole number of packs");
  static constexpr int parameters = Core::parameters(N), gradients = Core::gradients(N);
  static constexpr CoreGrouping<Core, N> grouping{};

  const Program& p;
  const int64_t tile;
  const int models, batch;
  const CellOptions<R> options;
  R* const streams;  // [slot][input][sample]
  // zero beyond the last model: what is computed there is ignored, but numbers like denormals would cost time
  R derived[Core::derived(N) * tile_models] = {};
  R gradient[gradients * tile_models] = {};

  Trainer(const Program& program, int64_t index, void* scratch)
      : p(program),
        tile(index),
        models(program.models[index]),
        batch(static_cast<int>(program.batch)),
        options{static_cast<R>(program.epsilon)},
        streams(static_cast<R*>(scratch)) {}

  template <class Pointer>
  MK_INLINE R* per_model(Pointer base, int64_t rows) const {
    return static_cast<R*>(const_cast<void*>(static_cast<const void*>(base))) + tile * rows * tile_models;
  }

  // Calls f with a number of the type whose lanes are models.  A model alone is a plain number: its update is one chain
  // of dependent operations, and a pack's root and quotient take longer, as does reading a pack that was written lane
  // by lane.
  template <class F>
  MK_INLINE void with_models(F f) const {
    if constexpr (N <= 2)
      if (models == 1) return f(R{});
    f(V{});
  }
  static MK_INLINE void load(const R* from, R& to) { to = *from; }
  static MK_INLINE void load(const R* from, V& to) { to = V::load(from); }
  static MK_INLINE void store(R value, R* to) { *to = value; }
  static MK_INLINE void store(V value, R* to) { value.store(to); }

  template <Mode mode>
  MK_INLINE void prepare() {
    with_models([&](auto number) { prepare<mode, decltype(number)>(); });
  }
  template <Mode mode, class M>
  MK_INLINE void prepare() {
    const R* parameter = per_model(p.parameter, parameters);
    const R* negative = per_model(p.negative, N);
    for (int m = 0; m < models; m += Number<M>::width) {
      M raw[parameters], signs[N], made[Core::derived(N)];
      for (int k = 0; k < parameters; ++k) load(parameter + k * tile_models + m, raw[k]);
      for (int i = 0; i < N; ++i) load(negative + i * tile_models + m, signs[i]);
      Core::template prepare<mode>(N, options, signs, raw, made);
      for (int k = 0; k < Core::derived(N); ++k) store(made[k], derived + k * tile_models + m);
    }
  }

  // What the loops over a batch read of one model.
  struct Model {
    const R* stream;
    const int32_t* subset;
    V d[Core::derived(N)], scale[N], offset[N], least;

    MK_INLINE Model(const Trainer& t, int m)
        : stream(t.streams + int64_t{t.p.slot[t.tile * tile_models + m]} * N * t.batch),
          subset(t.p.subset + (t.tile * tile_models + m) * 4),
          least(splat<V>(t.per_model(t.p.least, 1)[m])) {
      const R *scales = t.per_model(t.p.scale, N) + m, *offsets = t.per_model(t.p.offset, N) + m;
      for (int k = 0; k < Core::derived(N); ++k) d[k] = splat<V>(t.derived[k * tile_models + m]);
      for (int i = 0; i < N; ++i) {
        scale[i] = splat<V>(scales[i * tile_models]);
        offset[i] = splat<V>(offsets[i * tile_models]);
      }
    }
    MK_INLINE void sample(int batch, int s, V* x) const {
      for (int i = 0; i < N; ++i) x[i] = fma(V::load(stream + i * batch + s), scale[i], offset[i]);
    }
    // O is Operation, or an integral_constant of it where the inner loop shall have no switch.
    template <class O>
    MK_INLINE V target(O operation, const V* x) const {
      if constexpr (N == 2) return apply(static_cast<Operation>(operation), x[0], x[1]);  // see plain_pairs()
      return subset_target(static_cast<Operation>(operation), x, subset, least);
    }
  };

  // Forward over the batch in training mode.
  __attribute__((noinline)) Moments<R> moments(int m) {
    const Model model(*this, m);
    R *z = streams + int64_t{tile_models} * N * batch, *t = z + batch;
    for (int s = 0; s < batch; s += width) {
      V x[N], saved[Core::saved(N) + 1];
      model.sample(batch, s, x);
      Core::template forward<Mode::training>(N, options, x, model.d, saved).store(z + s);
      model.target(static_cast<Operation>(p.operation), x).store(t + s);
    }
    return batch_moments(p, z, t, model.least);
  }

  // Calls f with the program's operation and criterion, as compile-time constants where speed is asked for.
  template <class F>
  MK_INLINE void with_loss(F f) const {
    const auto operation = static_cast<Operation>(p.operation);
    const auto criterion = static_cast<Criterion>(p.criterion);
    const std::integral_constant<Criterion, Criterion::mse> mse;
    if (criterion == mse && operation == Operation::div)
      return f(std::integral_constant<Operation, Operation::div>{}, mse);
    if (criterion == mse && operation == Operation::mul)
      return f(std::integral_constant<Operation, Operation::mul>{}, mse);
    f(operation, criterion);
  }

  // The sums over the batch of one model's gradients, without the factor of the mean.
  template <class O, class C>
  __attribute__((noinline)) void sum_gradients(int m, O operation, C criterion) {
    constexpr int packs = columns / width;
    const Model model(*this, m);
    [[maybe_unused]] Moments<R> at;
    if (static_cast<Criterion>(criterion) == Criterion::pcc) at = moments(m);
    V partial[packs][gradients];
    for (int first = 0; first < packs; ++first) {
      V g[gradients];
      for (int k = 0; k < gradients; ++k) g[k] = constant<V>(0);
      for (int s = first * width; s < batch; s += columns) {
        V x[N], saved[Core::saved(N) + 1];
        model.sample(batch, s, x);
        const V z = Core::template forward<Mode::training>(N, options, x, model.d, saved);
        const V dz = slope(criterion, at, z, model.target(operation, x), model.least);
        Core::template backward<false>(N, options, x, model.d, saved, dz, g, static_cast<V*>(nullptr));
      }
      for (int k = 0; k < gradients; ++k) partial[first][k] = g[k];
    }
    for (int k = 0; k < gradients; ++k) {
      for (int half = packs / 2; half > 0; half /= 2)
        for (int a = 0; a < half; ++a) partial[a][k] = partial[a][k] + partial[a + half][k];
      gradient[k * tile_models + m] = lane_sum(partial[0][k]);
    }
  }

  template <class M>
  MK_INLINE void update(int64_t t) {
    R* parameter = per_model(p.parameter, parameters);
    R* first_moment = per_model(p.first_moment, parameters);
    R* second_moment = per_model(p.second_moment, parameters);
    const Schedule<M, Core::groups> at(p, t - p.first);
    const M mean = splat<M>(mean_factor<R>(p));
    for (int m = 0; m < models; m += Number<M>::width) {
      M raw[parameters], first[parameters], second[parameters];
      M made[Core::derived(N)], sum[gradients], dp[parameters];
      for (int k = 0; k < parameters; ++k) {
        load(parameter + k * tile_models + m, raw[k]);
        load(first_moment + k * tile_models + m, first[k]);
        load(second_moment + k * tile_models + m, second[k]);
      }
      for (int k = 0; k < Core::derived(N); ++k) load(derived + k * tile_models + m, made[k]);
      for (int k = 0; k < gradients; ++k) load(gradient + k * tile_models + m, sum[k]);
      Core::finish(N, raw, made, sum, dp);
      for (int k = 0; k < parameters; ++k) dp[k] = dp[k] * mean;
      add_penalties(p, at, grouping, raw, dp);
      limit_gradient(p, parameters, dp);
      for (int k = 0; k < parameters; ++k) step_parameter(p, at, grouping.group(k), dp[k], raw[k], first[k], second[k]);
      for (int k = 0; k < parameters; ++k) {
        store(raw[k], parameter + k * tile_models + m);
        store(first[k], first_moment + k * tile_models + m);
        store(second[k], second_moment + k * tile_models + m);
      }
    }
  }

  // Needs the derived numbers of evaluation.
  __attribute__((noinline)) void write_row(int m, int64_t iteration) {
    const int64_t index = tile * tile_models + m;
    double* out = row_of(p, index, iteration);
    V d[Core::derived(N)], sample[N];
    for (int k = 0; k < Core::derived(N); ++k) d[k] = splat<V>(derived[k * tile_models + m]);
    const auto predict = [&](const V* x) {
      V saved[Core::saved(N) + 1];
      return Core::template forward<Mode::evaluation>(N, options, x, d, saved);
    };
    for (int set = 0; set < 2; ++set)  // one loop, so that the evaluation stands in the code once
      out[set] = mean_squared_error<R>(N, reinterpret_cast<const R*>((set ? p.test_inputs : p.valid_inputs)[index]),
                                       reinterpret_cast<const R*>((set ? p.test_target : p.valid_target)[index]),
                                       set ? p.test_count : p.valid_count, sample, predict);
    const R* parameter = per_model(p.parameter, parameters) + m;
    out[2] = sparsity_error<Core>(N, derived + m, tile_models);
    out[4] = total_penalty(p, iteration - p.first, grouping, parameter, tile_models, out[0]);
    keep_best(p, index, iteration, parameter, per_model(p.best, parameters) + m);
  }

  void run() {
    for (int64_t t = p.first; t < p.last; ++t) {
      for (int k = 0; k < p.slots[tile]; ++k) draw_slot(p, tile, k, t, streams + int64_t{k} * N * batch);
      const bool logged = t % p.evaluate_every == 0;
      if (logged) {
        prepare<Mode::evaluation>();
        for (int m = 0; m < models; ++m) write_row(m, t);
      }
      prepare<Mode::training>();
      if (logged)  // the loss of the batch that the coming update uses
        for (int m = 0; m < models; ++m) row_of(p, tile * tile_models + m, t)[3] = moments(m).loss;
      with_loss([&](auto operation, auto criterion) {
        for (int m = 0; m < models; ++m) sum_gradients(m, operation, criterion);
      });
      with_models([&](auto number) { update<decltype(number)>(t); });
      if (logged)
        for (int m = 0; m < models; ++m)
          restart_model(p, tile * tile_models + m, t, per_model(p.parameter, parameters) + m);
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

// The trainer for a program that has one, else nullptr.  Trainers are made where speed is asked for: float, a wide
// instruction set, 2 or 10 inputs.
template <class Core>
TrainTile* choose([[maybe_unused]] const Program& p) {
#if defined(__AVX2__) || defined(__ARM_NEON)
  if (p.dtype == 1) return nullptr;
  if (p.inputs == 10) return train_tile<Core, 10, float>;
  if (p.inputs == 2 && plain_pairs(p)) return train_tile<Core, 2, float>;
#endif
  return nullptr;
}

}  // namespace mk::MK_ISA
