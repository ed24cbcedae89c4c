// Trains one tile of models of any cells, of one layer or of two: hidden units of the first cell on the inputs, one
// unit of the second cell on these.  The order of work and of every sum is that of train.h; sizes are known at run time
// only and a model's numbers live in the worker's scratch memory.
#pragma once
#include "common/arena.h"
#include "trainers/nalm/cell_ops.h"
#include "trainers/nalm/draw.h"
#include "trainers/nalm/evaluate.h"
#include "trainers/nalm/loss.h"
#include "trainers/nalm/restart.h"
#include "trainers/nalm/update.h"

namespace mk::MK_ISA {

// The two layers of a program as one list of parameters, derived numbers and gradients: those of every unit of the
// first layer, then those of the second.
template <class R>
struct Layers {
  const CellOps<R>*first, *second;  // second is null where there is one layer
  int inputs, hidden, units;        // units of the first layer: hidden, or 1

  explicit Layers(const Program& p)
      : first(cell_ops<R>(p.cell, p.custom)),
        second(p.hidden ? cell_ops<R>(p.second, p.second_custom) : nullptr),
        inputs(static_cast<int>(p.inputs)),
        hidden(static_cast<int>(p.hidden)),
        units(p.hidden ? hidden : 1) {}

  bool exist() const { return first != nullptr && (hidden == 0 || second != nullptr); }
  using Count = int (*CellOps<R>::*)(int);
  int of_first(Count count) const { return (first->*count)(inputs); }
  int of_second(Count count) const { return second ? (second->*count)(hidden) : 0; }
  int in_all(Count count) const { return units * of_first(count) + of_second(count); }

  int group(int k) const {
    const int each = of_first(&CellOps<R>::parameters);
    if (k < units * each) return first->group(inputs, k % each);
    return first->groups + second->group(hidden, k - units * each);
  }
};

template <class R>
struct AnyGrouping {
  static constexpr int groups = max_groups;
  const Layers<R>& layers;
  int count;
  int parameters() const { return count; }
  int group(int k) const { return layers.group(k); }
};

// A worker's memory, cut in the same way for every instruction set.
template <class R>
struct AnyScratch {
  using V = Pack<R>;
  R *stream, *derived, *gradient, *z, *t;      // stream [I][batch]; derived, gradient [count][16]
  V *x, *d, *saved, *between, *dbetween;       // of one pack of samples: inputs, hidden units and their gradients
  V* sums;                                     // [columns / width][gradients]
  V *raw, *moment, *square, *made, *sum, *dp;  // of one pack of models
  int64_t bytes;

  AnyScratch(const Program& p, const Layers<R>& l, void* memory) {
    using Ops = CellOps<R>;
    Arena m(memory);
    const int parameters = l.in_all(&Ops::parameters), gradients = l.in_all(&Ops::gradients);
    const int made_count = l.in_all(&Ops::derived);
    stream = m.take<R>(p.inputs * p.batch);
    z = m.take<R>(p.batch);
    t = m.take<R>(p.batch);
    derived = m.take<R>(int64_t{made_count} * tile_models);
    gradient = m.take<R>(int64_t{gradients} * tile_models);
    x = m.take_packs<V>(l.inputs);
    d = m.take_packs<V>(made_count);
    saved = m.take_packs<V>(l.in_all(&Ops::saved));
    between = m.take_packs<V>(l.hidden);
    dbetween = m.take_packs<V>(l.hidden);
    sums = m.take_packs<V>(int64_t{columns} * int64_t{sizeof(R)} / 16 * gradients);
    raw = m.take_packs<V>(parameters);
    moment = m.take_packs<V>(parameters);
    square = m.take_packs<V>(parameters);
    made = m.take_packs<V>(made_count);
    sum = m.take_packs<V>(gradients);
    dp = m.take_packs<V>(parameters);
    bytes = m.used();
  }
};

template <class R>
struct AnyTrainer {
  using V = Pack<R>;
  using Ops = CellOps<R>;
  static constexpr int width = Number<V>::width;

  const Program& p;
  const int64_t tile;
  const int models, batch;
  const Layers<R> layers;
  const AnyScratch<R> memory;
  const int parameters, derived, gradients;
  const AnyGrouping<R> grouping;
  const CellOptions<R> first_options, second_options;

  AnyTrainer(const Program& program, int64_t index, void* scratch)
      : p(program),
        tile(index),
        models(program.models[index]),
        batch(static_cast<int>(program.batch)),
        layers(program),
        memory(program, layers, scratch),
        parameters(layers.in_all(&Ops::parameters)),
        derived(layers.in_all(&Ops::derived)),
        gradients(layers.in_all(&Ops::gradients)),
        grouping{layers, parameters},
        first_options{static_cast<R>(program.epsilon)},
        second_options{static_cast<R>(program.second_epsilon)} {
    for (int k = 0; k < derived * tile_models; ++k) memory.derived[k] = 0;
    for (int k = 0; k < gradients * tile_models; ++k) memory.gradient[k] = 0;
  }

  R* per_model(const void* base, int64_t rows) const {
    return static_cast<R*>(const_cast<void*>(base)) + tile * rows * tile_models;
  }
  static void load(int count, const R* from, V* to) {
    for (int k = 0; k < count; ++k) to[k] = V::load(from + k * tile_models);
  }
  static void store(int count, const V* from, R* to) {
    for (int k = 0; k < count; ++k) from[k].store(to + k * tile_models);
  }

  // Calls f(cell, n, options, parameters before it, derived before it, gradients before it) for every unit.
  template <class F>
  void each_unit(F f) const {
    const int p1 = layers.of_first(&Ops::parameters), d1 = layers.of_first(&Ops::derived);
    const int g1 = layers.of_first(&Ops::gradients), u = layers.units;
    for (int unit = 0; unit < u; ++unit)
      f(*layers.first, layers.inputs, first_options, unit * p1, unit * d1, unit * g1);
    if (layers.second) f(*layers.second, layers.hidden, second_options, u * p1, u * d1, u * g1);
  }

  void prepare(Mode mode) {
    const R* parameter = per_model(p.parameter, parameters);
    for (int m = 0; m < models; m += width) {
      load(parameters, parameter + m, memory.raw);
      each_unit([&](const Ops& cell, int n, CellOptions<R> options, int at_p, int at_d, int) {
        cell.prepare[static_cast<int>(mode)](n, options, memory.raw + at_p, memory.made + at_d);
      });
      store(derived, memory.made, memory.derived + m);
    }
  }

  // Repeats a model's derived numbers in every lane, for the loops over samples.
  void spread(int m) {
    for (int k = 0; k < derived; ++k) memory.d[k] = splat<V>(memory.derived[k * tile_models + m]);
  }

  V forward(Mode mode, const V* x) const {
    const int d1 = layers.of_first(&Ops::derived), s1 = layers.of_first(&Ops::saved), which = static_cast<int>(mode);
    V z;
    for (int unit = 0; unit < layers.units; ++unit)
      layers.first->forward[which](layers.inputs, first_options, x, memory.d + unit * d1, memory.saved + unit * s1,
                                   layers.second ? memory.between + unit : &z);
    if (layers.second)
      layers.second->forward[which](layers.hidden, second_options, memory.between, memory.d + layers.units * d1,
                                    memory.saved + layers.units * s1, &z);
    return z;
  }

  void backward(const V* x, V dz, V* g) const {
    const int d1 = layers.of_first(&Ops::derived), s1 = layers.of_first(&Ops::saved);
    const int g1 = layers.of_first(&Ops::gradients), u = layers.units;
    if (layers.second)
      layers.second->backward[1](layers.hidden, second_options, memory.between, memory.d + u * d1,
                                 memory.saved + u * s1, &dz, g + u * g1, memory.dbetween);
    for (int unit = 0; unit < u; ++unit)
      layers.first->backward[0](layers.inputs, first_options, x, memory.d + unit * d1, memory.saved + unit * s1,
                                layers.second ? memory.dbetween + unit : &dz, g + unit * g1, nullptr);
  }

  void sample(int m, int s, V* x) const {
    const R *scale = per_model(p.scale, p.inputs) + m, *offset = per_model(p.offset, p.inputs) + m;
    for (int i = 0; i < layers.inputs; ++i)
      x[i] = fma(V::load(memory.stream + i * batch + s), splat<V>(scale[i * tile_models]),
                 splat<V>(offset[i * tile_models]));
  }
  V target(int m, const V* x) const {
    return subset_target(static_cast<Operation>(p.operation), x, p.subset + (tile * tile_models + m) * 4, least(m));
  }
  V least(int m) const { return splat<V>(per_model(p.least, 1)[m]); }

  // Forward over the batch in training mode; needs spread().
  Moments<R> moments(int m) {
    for (int s = 0; s < batch; s += width) {
      sample(m, s, memory.x);
      forward(Mode::training, memory.x).store(memory.z + s);
      target(m, memory.x).store(memory.t + s);
    }
    return batch_moments(p, memory.z, memory.t, least(m));
  }

  // The sums over the batch of one model's gradients, without the factor of the mean; needs spread().
  void sum_gradients(int m) {
    constexpr int packs = columns / width;
    const auto criterion = static_cast<Criterion>(p.criterion);
    Moments<R> at{};
    if (criterion == Criterion::pcc) at = moments(m);
    for (int k = 0; k < packs * gradients; ++k) memory.sums[k] = constant<V>(0);
    for (int s = 0; s < batch; s += width) {
      sample(m, s, memory.x);
      const V z = forward(Mode::training, memory.x);
      const V dz = slope(criterion, at, z, target(m, memory.x), least(m));
      backward(memory.x, dz, memory.sums + s / width % packs * gradients);
    }
    for (int half = packs / 2; half > 0; half /= 2)
      for (int k = 0; k < half * gradients; ++k) memory.sums[k] = memory.sums[k] + memory.sums[half * gradients + k];
    for (int k = 0; k < gradients; ++k) memory.gradient[k * tile_models + m] = lane_sum(memory.sums[k]);
  }

  // The schedules of a pack of models: those of penalties that do not count for a model are 0 in its lane.
  Schedule<V, max_groups> counting(Schedule<V, max_groups> at, int m, int64_t t) const {
    for (int g = 0; g < p.groups; ++g) {
      if (p.group[g].below == 0) continue;
      alignas(64) R factor[width];
      for (int l = 0; l < width; ++l) factor[l] = counts(p.group[g], row_of(p, tile * tile_models + m + l, t)[0]);
      at.penalty[g] = at.penalty[g] * V::load(factor);
    }
    return at;
  }

  void update(int64_t t) {
    R* parameter = per_model(p.parameter, parameters);
    R *first = per_model(p.first_moment, parameters), *second = per_model(p.second_moment, parameters);
    const Schedule<V, max_groups> at(p, t - p.first);
    const V mean = splat<V>(mean_factor<R>(p));
    V *raw = memory.raw, *dp = memory.dp;
    for (int m = 0; m < models; m += width) {
      load(parameters, parameter + m, raw);
      load(parameters, first + m, memory.moment);
      load(parameters, second + m, memory.square);
      load(derived, memory.derived + m, memory.made);
      load(gradients, memory.gradient + m, memory.sum);
      each_unit([&](const Ops& cell, int n, CellOptions<R>, int at_p, int at_d, int at_g) {
        cell.finish(n, raw + at_p, memory.made + at_d, memory.sum + at_g, dp + at_p);
      });
      for (int k = 0; k < parameters; ++k) dp[k] = dp[k] * mean;
      add_penalties(p, counting(at, m, t), grouping, raw, dp);
      limit_gradient(p, parameters, dp);
      for (int k = 0; k < parameters; ++k)
        step_parameter(p, at, grouping.group(k), dp[k], raw[k], memory.moment[k], memory.square[k]);
      store(parameters, raw, parameter + m);
      store(parameters, memory.moment, first + m);
      store(parameters, memory.square, second + m);
    }
  }

  double sparsity(int m) const {
    double furthest[2 * sparsity_terms] = {};
    int layer = 0;
    each_unit([&](const Ops& cell, int n, CellOptions<R>, int, int at_d, int) {
      if (&cell == layers.second && at_d == layers.units * layers.of_first(&Ops::derived)) layer = sparsity_terms;
      for (int k = 0; k < cell.weights(n); ++k)
        measure_sparsity(memory.derived[(at_d + cell.weight(n, k)) * tile_models + m],
                         furthest[layer + cell.term(n, k)]);
    });
    const double one = furthest[0] + furthest[1], other = furthest[2] + furthest[3];
    return !(one <= other) ? one : other;
  }

  // Needs the derived numbers of evaluation.
  void write_row(int m, int64_t iteration) {
    const int64_t index = tile * tile_models + m;
    double* out = row_of(p, index, iteration);
    spread(m);
    const auto error = [&](const uint64_t* x, const uint64_t* t, int64_t count) {
      return mean_squared_error<R>(layers.inputs, reinterpret_cast<const R*>(x[index]),
                                   reinterpret_cast<const R*>(t[index]), count, memory.x,
                                   [&](const V* sample) { return forward(Mode::evaluation, sample); });
    };
    out[0] = error(p.valid_inputs, p.valid_target, p.valid_count);
    out[1] = error(p.test_inputs, p.test_target, p.test_count);
    const R* parameter = per_model(p.parameter, parameters) + m;
    out[2] = sparsity(m);
    out[4] = total_penalty(p, iteration - p.first, grouping, parameter, tile_models, out[0]);
    keep_best(p, index, iteration, parameter, per_model(p.best, parameters) + m);
  }

  void run() {
    for (int64_t t = p.first; t < p.last; ++t) {
      const bool logged = t % p.evaluate_every == 0;
      if (logged) {
        prepare(Mode::evaluation);
        for (int m = 0; m < models; ++m) write_row(m, t);
      }
      prepare(Mode::training);
      for (int slot = 0; slot < p.slots[tile]; ++slot) {
        draw_slot(p, tile, slot, t, memory.stream);
        for (int m = 0; m < models; ++m) {
          if (p.slot[tile * tile_models + m] != slot) continue;
          spread(m);
          if (logged) row_of(p, tile * tile_models + m, t)[3] = moments(m).loss;
          sum_gradients(m);
        }
      }
      update(t);
      if (logged)
        for (int m = 0; m < models; ++m)
          restart_model(p, tile * tile_models + m, t, per_model(p.parameter, parameters) + m);
    }
  }
};

template <class R>
void train_any_tile(const Program& p, int64_t tile, void* scratch) {
  AnyTrainer<R>(p, tile, scratch).run();
}

}  // namespace mk::MK_ISA
