// Trains one model per warp through the iterations of a program (csrc/trainers/nalm/program.h, with device addresses).
// The lanes are the samples: lane l takes samples l, l + 32, … in their order, and sums go through lane_sum, which is
// the order of the CPU trainer.  Parameters, moments and everything that is done with them once per iteration are the
// same in every lane, computed by all of them.  Warps share nothing and no memory is shared between lanes: all exchange
// is by shuffles. N is the number of inputs if it is known at compile time, else 0.
#pragma once
#include "cuda/warp.h"

#include "common/random.h"
#include "cuda/kernels.h"
#include "trainers/nalm/operation.h"
#include "trainers/nalm/update.h"

namespace mk::MK_ISA {

// Not inlined, because it is rarely asked for and would stand in the code once per input.
MK_NOINLINE uint32_t philox_word(uint64_t seed, int64_t iteration, uint32_t input, uint32_t sample) {
  const Philox four = philox(seed, static_cast<uint64_t>(iteration), input, sample / 4);
  return sample % 4 < 2 ? four.word[sample % 2] : four.word[2 + sample % 2];
}

template <class Core, int N>
struct WarpTrainer {
  using Options = CellOptions<float>;
  static constexpr int capacity = N ? N : cuda_max_inputs;
  static constexpr int parameter_capacity = Core::parameters(capacity);
  static constexpr int square_block = 16 * warp_lanes;

  const Program& p;
  const int64_t tile;
  const int m, lane;
  const int64_t index, slot;
  const Options options;
  float raw[parameter_capacity], first[parameter_capacity], second[parameter_capacity];
  float derived[Core::derived(capacity)];

  MK_INLINE WarpTrainer(const Program& program, int64_t warp, int thread)
      : p(program),
        tile(warp / tile_models),
        m(static_cast<int>(warp % tile_models)),
        lane(thread % warp_lanes),
        index(warp),
        slot(tile * tile_models + program.slot[warp]),
        options{static_cast<float>(program.epsilon)} {}

  // Constants of the compiler where N is known: only then do arrays stay in registers.
  MK_INLINE int inputs() const { return N ? N : static_cast<int>(p.inputs); }
  MK_INLINE int parameters() const { return Core::parameters(inputs()); }
  MK_INLINE CoreGrouping<Core, N> grouping() const { return {inputs()}; }

  template <class Pointer>
  MK_INLINE float* per_model(Pointer base, int rows) const {
    return static_cast<float*>(const_cast<void*>(static_cast<const void*>(base))) + tile * rows * tile_models + m;
  }

  template <Mode mode>
  MK_INLINE void prepare() {
    const float* negative = per_model(p.negative, inputs());
    float signs[capacity];
    MK_UNROLL
    for (int i = 0; i < inputs(); ++i) signs[i] = negative[i * tile_models];
    Core::template prepare<mode>(inputs(), options, signs, raw, derived);
  }

  MK_INLINE void draw(int64_t iteration, HashKey key, int sample, float* x) const {
    const uint32_t* anchor = p.slot_anchor + slot * inputs();
    const float *scale = per_model(p.scale, inputs()), *offset = per_model(p.offset, inputs());
    const bool hash = p.generator == static_cast<int64_t>(Generator::hash);
    MK_UNROLL
    for (int i = 0; i < inputs(); ++i) {
      const auto s = static_cast<uint32_t>(sample), input = static_cast<uint32_t>(i);
      const uint32_t word =
          hash ? hash_bits(key, hash_counter(key, s, input)) : philox_word(p.slot_seed[slot], iteration, input, s);
      const auto value = static_cast<float>(anchored(word, static_cast<int32_t>(anchor[i])));
      x[i] = fma(value, scale[i * tile_models], offset[i * tile_models]);
    }
  }

  // The sum of a run of inputs.  With N known every index is a constant, so that x stays in registers.
  static MK_INLINE float subset_sum(const float* x, int begin, int count) {
    if constexpr (N == 0) {
      float sum = x[begin];
      for (int k = 1; k < count; ++k) sum = sum + x[begin + k];
      return sum;
    } else {
      float sum = 0;
      MK_UNROLL
      for (int i = 0; i < N; ++i) sum = i >= begin && i < begin + count ? sum + x[i] : sum;
      return sum;
    }
  }

  MK_INLINE float target(const float* x) const {
    const int32_t* subset = p.subset + index * 4;
    const float a = subset_sum(x, subset[0], subset[1]), b = subset_sum(x, subset[2], subset[3]);
    return apply_to_sums(static_cast<Operation>(p.operation), a, b, *per_model(p.least, 1));
  }

  // The gradients of the batch, without the factor 2 / batch of the mean squared error.  Returns this lane's part of
  // the squared errors: floats are added over 16 rows of lanes, their sums in double, as on the CPU.
  MK_INLINE double sum_gradients(int64_t iteration, float* g) const {
    const HashKey key = hash_key(p.slot_seed[slot], static_cast<uint64_t>(iteration));
    float square = 0;
    double squares = 0;
    MK_UNROLL
    for (int k = 0; k < Core::gradients(inputs()); ++k) g[k] = 0;
    for (int sample = lane; sample < p.batch; sample += warp_lanes) {
      float x[capacity], saved[Core::saved(capacity)];
      draw(iteration, key, sample, x);
      const float error = Core::template forward<Mode::training>(inputs(), options, x, derived, saved) - target(x);
      Core::template backward<false>(inputs(), options, x, derived, saved, error, g, static_cast<float*>(nullptr));
      square = fma(error, error, square);
      if (sample % square_block >= square_block - warp_lanes) {
        squares += static_cast<double>(square);
        square = 0;
      }
    }
    MK_UNROLL
    for (int k = 0; k < Core::gradients(inputs()); ++k) g[k] = lane_sum(g[k]);
    return squares + static_cast<double>(square);
  }

  MK_INLINE void update(const float* gradient, int64_t step) {
    const Schedule<float, Core::groups> at(p, step);
    const float mean = static_cast<float>(2.0 / static_cast<double>(p.batch));
    float dp[parameter_capacity];
    Core::finish(inputs(), raw, derived, gradient, dp);
    MK_UNROLL
    for (int k = 0; k < parameters(); ++k) dp[k] = dp[k] * mean;
    add_penalties(p, at, grouping(), raw, dp);
    limit_gradient(p, parameters(), dp);
    MK_UNROLL
    for (int k = 0; k < parameters(); ++k)
      step_parameter(p, at, grouping().group(k), dp[k], raw[k], first[k], second[k]);
  }

  // The mean squared error on an evaluation set, added as in sum_gradients.
  MK_INLINE double set_error(const float* x, const float* y, int64_t count) const {
    double squares = 0;
    for (int64_t start = 0; start < count; start += square_block) {
      float square = 0;
      for (int64_t s = start + lane; s < start + square_block && s < count; s += warp_lanes) {
        float sample[capacity], saved[Core::saved(capacity)];
        MK_UNROLL
        for (int i = 0; i < inputs(); ++i) sample[i] = x[i * count + s];
        const float error = Core::template forward<Mode::evaluation>(inputs(), options, sample, derived, saved) - y[s];
        square = fma(error, error, square);
      }
      squares += static_cast<double>(square);
    }
    return lane_sum(squares) / static_cast<double>(count);
  }

  MK_INLINE double* row_of(int64_t iteration) const {
    return p.rows + (index * p.row_capacity + iteration / p.evaluate_every) * row_columns;
  }

  // All of a row but the loss.  Lane 0 alone reads and writes what is kept per model.
  MK_INLINE void write_row(int64_t iteration) {
    prepare<Mode::evaluation>();
    double valid = 0, test = 0;
    MK_NO_UNROLL
    for (int set = 0; set < 2; ++set) {  // one loop, so that the evaluation stands in the code once
      valid = test;
      test = set_error(reinterpret_cast<const float*>((set ? p.test_inputs : p.valid_inputs)[index]),
                       reinterpret_cast<const float*>((set ? p.test_target : p.valid_target)[index]),
                       set ? p.test_count : p.valid_count);
    }
    if (lane != 0) return;
    double* out = row_of(iteration);
    out[0] = valid;
    out[1] = test;
    out[2] = sparsity_error<Core>(inputs(), derived, 1);
    out[4] = total_penalty(p, iteration - p.first, grouping(), raw, 1, valid);
    if (valid < p.best_valid[index]) {
      p.best_valid[index] = valid;
      p.best_row[index] = static_cast<int32_t>(iteration / p.evaluate_every);
      store(p.best, raw);
    }
  }

  // The loss of the batch that the coming update uses.
  MK_INLINE void write_loss(int64_t iteration, double squares) const {
    const double loss = lane_sum(squares) / static_cast<double>(p.batch);
    if (lane == 0) row_of(iteration)[3] = loss;
  }

  MK_INLINE void load(const void* from, float* values) const {
    const float* at = per_model(from, parameters());
    MK_UNROLL
    for (int k = 0; k < parameters(); ++k) values[k] = at[k * tile_models];
  }
  MK_INLINE void store(void* to, const float* values) const {
    float* at = per_model(to, parameters());
    MK_UNROLL
    for (int k = 0; k < parameters(); ++k) at[k * tile_models] = values[k];
  }

  MK_INLINE void run() {
    load(p.parameter, raw);
    load(p.first_moment, first);
    load(p.second_moment, second);
    int64_t next_row = (p.first + p.evaluate_every - 1) / p.evaluate_every * p.evaluate_every;
    for (int64_t t = p.first; t < p.last; ++t) {
      const bool logged = t == next_row;
      if (logged) write_row(t);
      float gradient[Core::gradients(capacity)];
      prepare<Mode::training>();
      const double squares = sum_gradients(t, gradient);
      if (logged) {
        write_loss(t, squares);
        next_row += p.evaluate_every;
      }
      update(gradient, t - p.first);
    }
    if (lane != 0) return;
    store(p.parameter, raw);
    store(p.first_moment, first);
    store(p.second_moment, second);
  }
};

// A grid of p.tiles * tile_models warps or more, any number of whole warps to a block.
template <class Core, int N>
__global__ void __launch_bounds__(128, 1) train_models(const __grid_constant__ Program p) {
  const int64_t warp = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / warp_lanes;
  if (warp >= p.tiles * tile_models || warp % tile_models >= p.models[warp / tile_models]) return;
  WarpTrainer<Core, N>(p, warp, static_cast<int>(threadIdx.x)).run();
}

template <class Core>
TrainKernel* choose(const Program& p) {
  if (p.inputs == 2) return train_models<Core, 2>;
  if (p.inputs == 10) return train_models<Core, 10>;
  return train_models<Core, 0>;
}

}  // namespace mk::MK_ISA
