// Trainers: runs of arithmetic modules of any cells, and minibatches of sequence-to-sequence models.
#include "common/dispatch.h"
#include "common/parallel.h"
#include "tests/calls.h"
#include "trainers/nalm/cell_ops.h"
#include "trainers/seq2seq/program.h"

namespace mk {
namespace {

constexpr int64_t cells = static_cast<int64_t>(Cell::custom);  // all but this one

template <class T>
uint64_t ensemble(Draw& draw, int threads, int64_t dtype) {
  Arrays arrays(draw);
  Program p{};
  p.dtype = dtype, p.cell = draw.from(0, cells - 1), p.inputs = draw.coin() ? 2 : draw.from(1, 10), p.batch = 64;
  p.epsilon = p.second_epsilon = 1e-3;
  const auto* const first = MK_ISA::float_cell(static_cast<Cell>(p.cell));
  const auto of = [](int (*count)(int), int64_t n) { return int64_t{count(static_cast<int>(n))}; };
  p.parameters = of(first->parameters, p.inputs), p.groups = first->groups;
  if (draw.from(0, 2) == 0) {
    p.hidden = draw.from(1, 3), p.second = draw.from(0, cells - 1);
    const auto* const second = MK_ISA::float_cell(static_cast<Cell>(p.second));
    p.parameters = p.hidden * p.parameters + of(second->parameters, p.hidden), p.groups += second->groups;
  }
  p.operation = draw.from(0, p.inputs >= 2 ? 6 : 0), p.generator = draw.from(0, 1), p.criterion = draw.from(0, 2);
  p.optimiser = draw.from(0, 1), p.norm_order = draw.from(0, 2), p.wide_norm = draw.from(0, 1);
  p.decay1 = 0.1, p.beta2 = 0.999, p.decay2 = 0.001, p.eps = 1e-8, p.momentum = 0.9;
  p.clip_norm = draw.coin() ? 0.5 : 0, p.clip_value = draw.coin() ? 0.1 : 0;
  for (int64_t g = 0; g < p.groups; ++g)
    p.group[g] = {draw.from(0, 5), draw.from(0, 1), -1, 1, draw.coin() ? 1.0 : 0.0};
  const int64_t tiles = draw.from(1, 3), last = draw.from(1, 4), lanes = tiles * tile_models;
  p.tiles = tiles, p.first = 0, p.last = last, p.evaluate_every = 2, p.row_capacity = (last + 1) / 2;
  p.step = arrays.filled<T>(last, T(1e-2)), p.correction = arrays.filled<T>(last, T(1));
  p.penalty = arrays.filled<T>(p.groups * last, T(1e-3)), p.norm = arrays.filled<T>(last, T(1e-3));
  const int32_t* const models = arrays.whole<int32_t>(tiles, 1, tile_models);
  p.models = models, p.slots = arrays.filled<int32_t>(tiles, 3), p.slot = arrays.whole<int32_t>(lanes, 0, 2);
  p.slot_seed = arrays.whole<uint64_t>(lanes, 0, 1000);
  p.slot_anchor = arrays.filled<uint32_t>(lanes * p.inputs, 1u << 30);
  p.scale = arrays.filled<T>(lanes * p.inputs, T(4.6566e-10)), p.offset = arrays.filled<T>(lanes * p.inputs, T(1.5));
  p.negative = arrays.filled<T>(lanes * p.inputs, T(0)), p.least = arrays.filled<T>(lanes, T(1));
  int32_t* const subset = arrays.filled<int32_t>(lanes * 4, 1);
  for (int64_t k = 0; k < lanes; ++k) subset[4 * k] = 0, subset[4 * k + 2] = p.inputs >= 2 ? 1 : 0;
  p.subset = subset, p.valid_count = draw.from(1, 70), p.test_count = draw.from(1, 70);
  const auto addresses = [&](int64_t numbers) {
    const auto set = reinterpret_cast<uintptr_t>(arrays.uniform<T>(numbers, 1, 2));
    return arrays.filled<uint64_t>(lanes, set);
  };
  p.valid_inputs = addresses(p.inputs * p.valid_count), p.valid_target = addresses(p.valid_count);
  p.test_inputs = addresses(p.inputs * p.test_count), p.test_target = addresses(p.test_count);
  T* const parameter = arrays.uniform<T>(lanes * p.parameters, 0.1, 0.9);
  p.parameter = parameter, p.first_moment = arrays.filled<T>(lanes * p.parameters, T(0));
  p.second_moment = arrays.filled<T>(lanes * p.parameters, T(0));
  p.best = arrays.filled<T>(lanes * p.parameters, T(0));
  p.best_valid = arrays.filled<double>(lanes, INFINITY), p.best_row = arrays.filled<int32_t>(lanes, -1);
  p.rows = arrays.filled<double>(lanes * p.row_capacity * row_columns, 0.0);
  const EnsembleKernels& kernels = *instruction_set().ensemble;
  TrainTile* const train = kernels.train(p);
  const int64_t bytes = (kernels.scratch(p) + 63) / 64 * 64;
  std::vector<void*> scratch;
  for (int k = 0; k < threads; ++k) scratch.push_back(arrays.aligned(bytes));
  parallel_for(tiles, threads, [&](int worker, int64_t tile) { train(p, tile, scratch[static_cast<size_t>(worker)]); });
  uint64_t hash = 0;  // of the models that a tile holds
  for (int64_t k = 0; k < lanes * p.parameters; ++k)
    if (k % tile_models < models[k / (tile_models * p.parameters)] && !std::isnan(parameter[k]))
      hash = hash * 1099511628211u + static_cast<uint64_t>(static_cast<int64_t>(parameter[k] * T(0x1p40)));
  return hash;
}

template <class T>
uint64_t seq2seq(Draw& draw, int threads, int64_t dtype) {
  Arrays arrays(draw);
  Seq2SeqProgram p{};
  p.dtype = dtype, p.models = draw.from(1, 3), p.alphabet = draw.from(1, 40), p.hidden = draw.from(1, 20);
  p.steps_in = draw.from(1, 4), p.steps_out = draw.from(1, 3), p.batch_norm = draw.from(0, 1);
  p.batch = draw.from(2, 150), p.samples = draw.from(2, 300);
  p.first = 0, p.last = (p.samples + p.batch - 1) / p.batch;
  p.decay1 = 0.1, p.decay2 = 0.001, p.eps = 1e-7, p.norm_eps = 1e-3, p.norm_decay = 0.01;
  Seq2SeqOffsets o;
  seq2seq_offsets(p, o);
  const auto lines = [&](int64_t count, double low, double high) {  // arrays of the caller begin at a line
    T* const array = static_cast<T*>(arrays.aligned(count * int64_t{sizeof(T)}));
    for (int64_t k = 0; k < count; ++k) array[k] = static_cast<T>(draw.uniform(low, high));
    return array;
  };
  p.inputs = arrays.whole<int8_t>(p.samples * p.steps_in, -1, p.alphabet - 1);
  p.targets = arrays.whole<int8_t>(p.samples * p.steps_out, 0, p.alphabet - 1);
  p.order = arrays.whole<int64_t>(p.models * p.samples, 0, p.samples - 1);
  p.step = arrays.filled<T>(p.last, T(1e-3));
  T* const parameter = lines(p.models * o.count, -0.3, 0.3);
  p.parameter = parameter, p.first_moment = lines(p.models * o.count, 0, 0);
  p.second_moment = lines(p.models * o.count, 0, 0);
  p.running = lines(p.models * 4 * o.feature_row, 0.5, 1);
  p.loss = arrays.filled<double>(p.models, 0.0);
  seq2seq_train(p, threads, arrays.workspace(seq2seq_train_bytes(p, threads)));
  Seq2SeqProgram e = p;
  e.order = nullptr, e.predicted = arrays.filled<int8_t>(p.models * p.samples * p.steps_out, 0);
  e.score = arrays.output<double>(p.models * ((p.samples + block_samples - 1) / block_samples) * 3);
  seq2seq_evaluate(e, threads, arrays.workspace(seq2seq_evaluate_bytes(e, threads)));
  return arrays.digest();
}

}  // namespace

uint64_t call_ensemble(Draw draw, int threads) {
  return draw.coin() ? ensemble<float>(draw, threads, 0) : ensemble<double>(draw, threads, 1);
}
uint64_t call_seq2seq(Draw draw, int threads) {
  return draw.coin() ? seq2seq<float>(draw, threads, 0) : seq2seq<double>(draw, threads, 1);
}

}  // namespace mk
