// Trains a tile of every cell for some iterations and prints all bits of its state.  Built with -DMK_VECTOR_BYTES of
// 16, 32 and 64 and FMA, the output must be the same: packs of 4, 8 and 16 lanes add in one order.  So the loops of
// AVX-512 are checked on machines that lack it; its instructions are not.
#define MK_ISA widths
#include <cstdio>
#include <cstring>
#include <vector>

#include "cells/nau.h"
#include "cells/nmru.h"
#include "cells/nmru_gated.h"
#include "cells/nmu.h"
#include "cells/npu.h"
#include "cells/nru.h"
#include "cells/real_npu.h"
#include "trainers/nalm/train.h"

using namespace mk;
using namespace mk::widths;

namespace {

constexpr int inputs = 2, models = 11, slots = 3, iterations = 40, evaluation_samples = 1003;

// Of the models that the tile holds; what lies beyond them depends on the width.
void print_bits(const char* name, const std::vector<float>& values) {
  for (size_t k = 0; k < values.size(); ++k) {
    if (k % tile_models >= models) continue;
    uint32_t word;
    std::memcpy(&word, &values[k], sizeof word);
    std::printf("%s %08x\n", name, word);
  }
}

template <class Core>
void train(const char* name, Operation operation) {
  const int parameters = Core::parameters(inputs);
  Program p{};
  p.inputs = inputs, p.parameters = parameters, p.groups = Core::groups, p.batch = 128;
  p.operation = static_cast<int64_t>(operation);
  p.tiles = 1, p.last = iterations, p.evaluate_every = iterations - 1, p.row_capacity = 2;
  p.decay1 = 0.1, p.beta2 = 0.999, p.decay2 = 0.001, p.eps = 1e-8, p.epsilon = 1.1920929e-7;
  for (int g = 0; g < Core::groups; ++g) p.group[g].penalty = static_cast<int64_t>(Penalty::ternary);
  p.norm_order = 2, p.clip_norm = 0.5;
  const std::vector<float> step(iterations, 1e-2f), correction(iterations, 3.0f),
      coefficient(iterations * max_groups, 1e-3f);
  p.step = step.data(), p.correction = correction.data();
  p.penalty = p.norm = coefficient.data();
  const int32_t held = models, drawn = slots;
  std::vector<int32_t> slot(tile_models), subset(tile_models * 4);
  std::vector<uint64_t> seed(tile_models), x(tile_models), t(tile_models);
  const std::vector<uint32_t> anchor(tile_models * inputs, 1u << 30);
  const std::vector<float> scale(tile_models * inputs, 4.6566e-10f), offset(tile_models * inputs, 1.5f);
  const std::vector<float> negative(tile_models * inputs, 0.0f), least(tile_models, 1.0f);
  std::vector<float> sets(evaluation_samples * inputs), target(evaluation_samples, 1.0f);
  for (size_t k = 0; k < sets.size(); ++k) sets[k] = 1.0f + 0.001f * static_cast<float>(k % 977);
  for (int m = 0; m < tile_models; ++m) {
    slot[m] = m % slots, seed[m] = static_cast<uint64_t>(m);
    subset[4 * m + 1] = subset[4 * m + 2] = subset[4 * m + 3] = 1;
    x[m] = reinterpret_cast<uint64_t>(sets.data()), t[m] = reinterpret_cast<uint64_t>(target.data());
  }
  p.models = &held, p.slots = &drawn, p.slot = slot.data(), p.slot_seed = seed.data(), p.slot_anchor = anchor.data();
  p.scale = scale.data(), p.offset = offset.data(), p.negative = negative.data(), p.subset = subset.data(),
  p.least = least.data();
  p.valid_inputs = p.test_inputs = x.data(), p.valid_target = p.test_target = t.data();
  p.valid_count = p.test_count = evaluation_samples;
  std::vector<float> state(tile_models * parameters), first(state.size()), second(state.size()), best(state.size());
  for (size_t k = 0; k < state.size(); ++k) state[k] = 0.13f + 0.017f * static_cast<float>(k % 37);
  p.parameter = state.data(), p.first_moment = first.data(), p.second_moment = second.data(), p.best = best.data();
  std::vector<double> best_valid(tile_models, 1e300), rows(tile_models * 2 * row_columns);
  std::vector<int32_t> best_row(tile_models, -1);
  p.best_valid = best_valid.data(), p.best_row = best_row.data(), p.rows = rows.data();
  std::vector<float> scratch(static_cast<size_t>(p.batch * (inputs * tile_models + 2)));
  train_tile<Core, inputs, float>(p, 0, scratch.data());
  print_bits(name, state);
  print_bits(name, second);
  for (const double row : rows) std::printf("%s %a\n", name, row);
}

}  // namespace

int main() {
  train<Nau>("nau", Operation::add);
  train<Nmu>("nmu", Operation::mul);
  train<RealNpu<Signs::mixed>>("real_npu mixed", Operation::div);
  train<RealNpu<Signs::constant, Domain::normal>>("real_npu constant", Operation::div);
  train<Nru<false>>("nru", Operation::div);
  train<Nru<true>>("nru separate", Operation::div);
  train<Nru<false, Domain::normal>>("nru normal", Operation::div);
  train<Npu<>>("npu", Operation::div);
  train<NmruGated>("nmru gated", Operation::div);
  train<Nmru<true, Signs::mixed>>("nmru mixed", Operation::div);
  train<Nmru<true, Signs::constant>>("nmru constant", Operation::div);
  train<Nmru<false, Signs::mixed>>("nmru unsigned", Operation::div);
}
