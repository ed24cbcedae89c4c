// A unit of two inputs and one output along a sequence: h_t = unit([l_t, h_{t-1}]).  Lanes are samples; the packs of a
// block take each step together, because the steps of one pack wait for one another.  Backward needs no values but the
// states: it repeats the forward of a step for what the cell saves.
#include "cells/nac.h"
#include "cells/nac_mul.h"
#include "cells/nalu.h"
#include "cells/nau.h"
#include "cells/nmu.h"
#include "common/arena.h"
#include "common/lanes.h"
#include "kernels/table.h"

namespace mk::MK_ISA {

template <class Cell, class T>
struct Recurrent {
  using V = Pack<T>;
  static constexpr int n = 2;
  static constexpr int width = Number<V>::width, sets = columns / width;
  static constexpr int packs = static_cast<int>(recurrent_rows) / width;
  static constexpr int parameters = Cell::parameters(n), gradients = Cell::gradients(n);
  // a cell may need none of these, and C++ has no arrays of 0
  static constexpr int derived = Cell::derived(n), saved = Cell::saved(n) > 0 ? Cell::saved(n) : 1;
  // each row's gradient of the state, and its weight gradients; the same on every machine
  static constexpr int64_t scratch = recurrent_rows * (1 + gradients) * int64_t{sizeof(T)};

  static MK_INLINE void prepare(const RecurrentTensors<T>& t, int64_t model, T* d) {
    Cell::template prepare<Mode::training>(n, CellOptions<T>{t.epsilon}, static_cast<const T*>(nullptr),
                                           t.weight + model * parameters, d);
  }

  // What a cell needs besides its inputs, in every lane.
  struct Step {
    V d[derived];
    CellOptions<T> options;
    Step(const RecurrentTensors<T>& t, int64_t model) : options{t.epsilon} {
      T scalars[derived];
      prepare(t, model, scalars);
      for (int k = 0; k < derived; ++k) d[k] = splat<V>(scalars[k]);
    }
  };

  struct Rows {
    int64_t model, begin, end;
    Rows(const RecurrentShape& s, int64_t item)
        : model(item / s.blocks), begin(item % s.blocks * recurrent_rows), end(begin + recurrent_rows) {
      if (end > s.batch) end = s.batch;
    }
    int64_t lanes(int64_t row) const { return end - row < width ? end - row : width; }
  };

  // Lanes beyond the batch are filled with 1, which no cell minds; their results are not used.
  static MK_INLINE V load(const T* p, int64_t lanes) {
    if (lanes == width) return V::load(p);
    V v = splat<V>(T(1));
    for (int64_t lane = 0; lane < lanes; ++lane)
      __builtin_memcpy(reinterpret_cast<char*>(&v) + lane * int64_t{sizeof(T)}, p + lane, sizeof(T));
    return v;
  }
  static MK_INLINE void store(V v, T* p, int64_t lanes) {
    if (lanes == width) return v.store(p);
    for (int64_t lane = 0; lane < lanes; ++lane)
      __builtin_memcpy(p + lane, reinterpret_cast<const char*>(&v) + lane * int64_t{sizeof(T)}, sizeof(T));
  }

  static void forward(const RecurrentShape& s, const RecurrentTensors<T>& t, int64_t item, void*) {
    const Rows block(s, item);
    const Step unit(t, block.model);
    const T* previous = t.initial + block.model * s.batch;
    for (int64_t step = 0; step < s.steps; ++step) {
      const int64_t first = (block.model * s.steps + step) * s.batch;
      for (int64_t row = block.begin; row < block.end; row += width) {
        const int64_t lanes = block.lanes(row);
        const V x[n] = {load(t.l + first + row, lanes), load(previous + row, lanes)};
        V kept[saved];
        store(Cell::template forward<Mode::training>(n, unit.options, x, unit.d, kept), t.h + first + row, lanes);
      }
      previous = t.h + first;
    }
  }

  static void backward(const RecurrentShape& s, const RecurrentTensors<T>& t, int64_t item, void* memory) {
    const Rows block(s, item);
    const Step unit(t, block.model);
    Arena m(memory);
    V *const carried = m.take<V>(packs), *const g = m.take<V>(packs * gradients);  // a pack's gradients stand together
    for (int k = 0; k < packs; ++k) carried[k] = splat<V>(T(0));
    for (int k = 0; k < packs * gradients; ++k) g[k] = splat<V>(T(0));
    for (int64_t step = s.steps - 1; step >= 0; --step) {
      const int64_t first = (block.model * s.steps + step) * s.batch;
      const T* previous = step > 0 ? t.states + first - s.batch : t.initial + block.model * s.batch;
      for (int64_t row = block.begin, pack = 0; row < block.end; row += width, ++pack) {
        const int64_t lanes = block.lanes(row);
        const V x[n] = {load(t.l + first + row, lanes), load(previous + row, lanes)};
        V kept[saved], dx[n];
        Cell::template forward<Mode::training>(n, unit.options, x, unit.d, kept);
        const V dz = load(t.dstates + first + row, lanes) + carried[pack];
        Cell::template backward<true>(n, unit.options, x, unit.d, kept, dz, g + pack * gradients, dx);
        store(dx[0], t.dl + first + row, lanes);
        carried[pack] = dx[1];
      }
    }
    for (int64_t row = block.begin, pack = 0; row < block.end; row += width, ++pack)
      store(carried[pack], t.dinitial + block.model * s.batch + row, block.lanes(row));
    add_rows(block, g, t.partial + item * gradients);
    if (s.blocks == 1) finish(s, t, block.model, nullptr);
  }

  // Adds the samples' gradients in 32 columns, and these as a balanced tree (common/lanes.h).
  static void add_rows(const Rows& block, const V* g, T* partial) {
    const V zero = splat<V>(T(0));
    V sums[sets * gradients], index = zero;
    for (int k = 0; k < sets * gradients; ++k) sums[k] = zero;
    for (int lane = 0; lane < width; ++lane) {
      const T number = static_cast<T>(lane);
      __builtin_memcpy(reinterpret_cast<char*>(&index) + lane * int64_t{sizeof(T)}, &number, sizeof(T));
    }
    for (int64_t row = block.begin, pack = 0; row < block.end; row += width, ++pack) {
      const auto present = index < splat<V>(static_cast<T>(block.lanes(row)));
      V* column = sums + pack % sets * gradients;
      for (int k = 0; k < gradients; ++k) column[k] = column[k] + select(present, g[pack * gradients + k], zero);
    }
    for (int half = sets / 2; half > 0; half /= 2)
      for (int k = 0; k < half * gradients; ++k) sums[k] = sums[k] + sums[half * gradients + k];
    for (int k = 0; k < gradients; ++k) partial[k] = lane_sum(sums[k]);
  }

  // Adds the blocks of one model in their order and turns the sums into parameter gradients.
  static void finish(const RecurrentShape& s, const RecurrentTensors<T>& t, int64_t model, void*) {
    T totals[gradients], d[derived];
    const T* partial = t.partial + model * s.blocks * gradients;
    for (int k = 0; k < gradients; ++k) totals[k] = partial[k];
    for (int64_t block = 1; block < s.blocks; ++block)
      for (int k = 0; k < gradients; ++k) totals[k] = totals[k] + partial[block * gradients + k];
    prepare(t, model, d);
    Cell::finish(n, t.weight + model * parameters, d, totals, t.dweight + model * parameters);
  }

  static constexpr RecurrentKernels<T> kernels = {forward, backward, finish, scratch, gradients};
};

#define MK_DEFINE_RECURRENT(real, name, ...) \
  constexpr RecurrentKernels<real> recurrent_##name##_##real = Recurrent<__VA_ARGS__, real>::kernels;
#define MK_RECURRENT(name, ...) MK_FOR_EACH_REAL(MK_DEFINE_RECURRENT, name, __VA_ARGS__)

MK_RECURRENT(nac, Nac)
MK_RECURRENT(nac_mul, NacMul<WeightForm::tanh_sigmoid>)
MK_RECURRENT(nac_sigma, NacMul<WeightForm::sigmoid>)
MK_RECURRENT(nac_nmu, NacMul<WeightForm::linear>)
MK_RECURRENT(nalu, Nalu<Paths::shared>)
MK_RECURRENT(nau, Nau)
MK_RECURRENT(nmu, Nmu)
#undef MK_DEFINE_RECURRENT
#undef MK_RECURRENT

}  // namespace mk::MK_ISA
