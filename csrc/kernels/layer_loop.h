// The loops of a layer over one cell: lanes are samples, a block of rows is transposed into scratch once, and every
// output of the model runs over it.  Backward repeats the forward of a pack instead of keeping its saved values.
#pragma once
#include "cells/cell.h"
#include "common/lanes.h"
#include "kernels/table.h"

namespace mk::MK_ISA {

// `gates`: how many of the cell's parameters per input are gates, which the outputs of a model share.
template <class Cell, int gates, class T>
struct Layer {
  static constexpr bool gated = gates > 0;
  using V = Pack<T>;
  static constexpr int width = Number<V>::width;
  static constexpr int sets = columns / width;  // packs that one row of 32 columns takes
  static constexpr int64_t chunk_packs = chunk_rows / width;
  static constexpr int64_t widest = 64;  // bytes of a pack on the widest machine: sizes do not depend on the choice

  static constexpr int weights(int n) { return Cell::parameters(n) - gates * n; }
  static int64_t gradients(int64_t in) { return Cell::gradients(static_cast<int>(in)); }

  struct Scratch {
    V *x, *dx;                       // chunk_packs x n: samples and their gradients
    V *derived, *saved, *dx_output;  // of the output in hand
    V *sums, *kept;                  // sets x gradients; one set
    T *parameters, *scalars, *totals;

    Scratch(void* memory, int n) {
      V* next = static_cast<V*>(memory);
      const auto take = [&next](int64_t packs) {
        V* taken = next;
        next += packs;
        return taken;
      };
      x = take(chunk_packs * n);
      dx = take(chunk_packs * n);
      derived = take(Cell::derived(n));
      saved = take(Cell::saved(n));
      dx_output = take(n);
      sums = take(sets * Cell::gradients(n));
      kept = take(Cell::gradients(n));
      parameters = reinterpret_cast<T*>(next);
      scalars = parameters + Cell::parameters(n);
      totals = scalars + Cell::derived(n);
    }
  };
  // An upper bound of what Scratch takes on any machine: columns and rows in numbers, the rest in the widest packs.
  static int64_t scratch(int64_t in) {
    const int n = static_cast<int>(in);
    const int64_t numbers =
        2 * chunk_rows * n + columns * Cell::gradients(n) + Cell::parameters(n) + Cell::derived(n) + Cell::gradients(n);
    const int64_t packs = Cell::derived(n) + Cell::saved(n) + n + Cell::gradients(n);
    return (numbers * int64_t{sizeof(T)} + packs * widest + widest - 1) / widest * widest;
  }

  template <Mode mode>
  static void prepare(const LayerShape& s, const LayerTensors<T>& t, int64_t model, int64_t output, Scratch& m) {
    const int n = static_cast<int>(s.in);
    const T* row = t.weight + (model * s.out + output) * weights(n);
    for (int k = 0; k < weights(n); ++k) m.parameters[k] = row[k];
    if constexpr (gated)
      for (int i = 0; i < gates * n; ++i) m.parameters[weights(n) + i] = t.gate[model * gates * n + i];
    Cell::template prepare<mode>(n, CellOptions<T>{t.epsilon}, static_cast<const T*>(nullptr), m.parameters, m.scalars);
  }

  static void spread(int n, Scratch& m) {
    for (int k = 0; k < Cell::derived(n); ++k) m.derived[k] = splat<V>(m.scalars[k]);
  }

  static MK_INLINE void set_lane(V& v, int64_t lane, T value) {
    __builtin_memcpy(reinterpret_cast<char*>(&v) + lane * int64_t{sizeof(T)}, &value, sizeof(T));
  }

  static MK_INLINE T get_lane(const V& v, int64_t lane) {
    T value;
    __builtin_memcpy(&value, reinterpret_cast<const char*>(&v) + lane * int64_t{sizeof(T)}, sizeof(T));
    return value;
  }

  // Rows beyond `rows` are filled with 1, which no cell minds; their results are not used.
  static void gather_rows(const T* x, int64_t rows, int n, V* packs) {
    for (int64_t row = 0; row < rows; ++row)
      for (int i = 0; i < n; ++i) set_lane(packs[row / width * n + i], row % width, x[row * n + i]);
    for (int64_t row = rows; row % width != 0; ++row)
      for (int i = 0; i < n; ++i) set_lane(packs[row / width * n + i], row % width, T(1));
  }
  static void scatter_rows(const V* packs, int64_t rows, int n, T* x) {
    for (int64_t row = 0; row < rows; ++row)
      for (int i = 0; i < n; ++i) x[row * n + i] = get_lane(packs[row / width * n + i], row % width);
  }

  struct Rows {
    int64_t model, begin, end;
    Rows(const LayerShape& s, int64_t item)
        : model(item / s.blocks), begin(item % s.blocks * s.block_rows), end(begin) {
      end = begin + s.block_rows < s.batch ? begin + s.block_rows : s.batch;
    }
    int64_t count(int64_t row) const { return end - row < chunk_rows ? end - row : chunk_rows; }
  };

  template <Mode mode>
  static void forward(const LayerShape& s, const LayerTensors<T>& t, int64_t item, void* memory) {
    const int n = static_cast<int>(s.in);
    const CellOptions<T> options{t.epsilon};
    const Rows block(s, item);
    Scratch m(memory, n);
    for (int64_t row = block.begin; row < block.end; row += chunk_rows) {
      const int64_t first = block.model * s.batch + row, rows = block.count(row);
      gather_rows(t.x + first * n, rows, n, m.x);
      for (int64_t output = 0; output < s.out; ++output) {
        prepare<mode>(s, t, block.model, output, m);
        spread(n, m);
        T* y = t.y + first * s.out + output;
        for (int64_t done = 0; done < rows; done += width) {
          const V z = Cell::template forward<mode>(n, options, m.x + done / width * n, m.derived, m.saved);
          const int64_t lanes = rows - done < width ? rows - done : width;
          for (int64_t lane = 0; lane < lanes; ++lane) y[(done + lane) * s.out] = get_lane(z, lane);
        }
      }
    }
  }

  // One pack of samples for one output: adds to the sums and to the pack's dx.
  template <Mode mode>
  static MK_INLINE void backward_pack(int n, CellOptions<T> options, const T* dy, int64_t stride, int64_t lanes,
                                      const V* x, V* sums, V* dx, Scratch& m) {
    V dz = splat<V>(T(0)), index = splat<V>(T(0));
    for (int lane = 0; lane < width; ++lane) {
      set_lane(index, lane, static_cast<T>(lane));
      if (lane < lanes) set_lane(dz, lane, dy[lane * stride]);
    }
    const bool tail = lanes < width;
    if (tail)
      for (int k = 0; k < Cell::gradients(n); ++k) m.kept[k] = sums[k];
    Cell::template forward<mode>(n, options, x, m.derived, m.saved);
    Cell::template backward<true>(n, options, x, m.derived, m.saved, dz, sums, m.dx_output);
    for (int i = 0; i < n; ++i) dx[i] = dx[i] + m.dx_output[i];
    if (tail)
      for (int k = 0; k < Cell::gradients(n); ++k)
        sums[k] = select(index < splat<V>(static_cast<T>(lanes)), sums[k], m.kept[k]);
  }

  // Adds the 32 columns of every gradient as a balanced tree.
  static void fold_columns(int count, V* sums, T* partial) {
    for (int half = sets / 2; half > 0; half /= 2)
      for (int k = 0; k < half * count; ++k) sums[k] = sums[k] + sums[half * count + k];
    for (int k = 0; k < count; ++k) partial[k] = partial[k] + lane_sum(sums[k]);
  }

  template <Mode mode>
  static void backward(const LayerShape& s, const LayerTensors<T>& t, int64_t item, void* memory) {
    const int n = static_cast<int>(s.in), count = Cell::gradients(n);
    const Rows block(s, item);
    Scratch m(memory, n);
    T* partial = t.partial + item * s.out * count;
    for (int64_t k = 0; k < s.out * count; ++k) partial[k] = T(0);
    for (int64_t row = block.begin; row < block.end; row += chunk_rows) {
      const int64_t first = block.model * s.batch + row, rows = block.count(row);
      gather_rows(t.x + first * n, rows, n, m.x);
      for (int64_t k = 0; k < (rows + width - 1) / width * n; ++k) m.dx[k] = splat<V>(T(0));
      for (int64_t output = 0; output < s.out; ++output) {
        prepare<mode>(s, t, block.model, output, m);
        spread(n, m);
        for (int k = 0; k < sets * count; ++k) m.sums[k] = splat<V>(T(0));
        for (int64_t done = 0; done < rows; done += width) {
          const int64_t pack = done / width, left = rows - done;
          backward_pack<mode>(n, CellOptions<T>{t.epsilon}, t.dy + (first + done) * s.out + output, s.out,
                              left < width ? left : width, m.x + pack * n, m.sums + pack % sets * count,
                              m.dx + pack * n, m);
        }
        fold_columns(count, m.sums, partial + output * count);
      }
      scatter_rows(m.dx, rows, n, t.dx + first * n);
    }
    if (s.blocks == 1) finish<mode>(s, t, block.model, memory);
  }

  // Adds the blocks of one model in their order and turns the sums into parameter gradients.
  template <Mode mode>
  static void finish(const LayerShape& s, const LayerTensors<T>& t, int64_t model, void* memory) {
    const int n = static_cast<int>(s.in), count = Cell::gradients(n);
    Scratch m(memory, n);
    T* gradient = reinterpret_cast<T*>(m.saved);  // of weights and gates; free here, and large enough in a gated cell
    if constexpr (gated)
      for (int i = 0; i < gates * n; ++i) t.dgate[model * gates * n + i] = T(0);
    for (int64_t output = 0; output < s.out; ++output) {
      for (int k = 0; k < count; ++k) m.totals[k] = T(0);
      for (int64_t block = 0; block < s.blocks; ++block) {
        const T* partial = t.partial + ((model * s.blocks + block) * s.out + output) * count;
        for (int k = 0; k < count; ++k) m.totals[k] = block == 0 ? partial[k] : m.totals[k] + partial[k];
      }
      prepare<mode>(s, t, model, output, m);
      T* row = t.dweight + (model * s.out + output) * weights(n);
      if constexpr (gated) {
        Cell::finish(n, m.parameters, m.scalars, m.totals, gradient);
        for (int k = 0; k < weights(n); ++k) row[k] = gradient[k];
        for (int i = 0; i < gates * n; ++i) t.dgate[model * gates * n + i] += gradient[weights(n) + i];
      } else {
        Cell::finish(n, m.parameters, m.scalars, m.totals, row);
      }
    }
  }
};

// `modes`: whether the cell computes training and evaluation differently; if not, one copy serves both.
template <class Cell, class T, bool modes, int gates = 0>
constexpr LayerKernels<T> layer_kernels() {
  using L = Layer<Cell, gates, T>;
  constexpr Mode first = Mode::training, second = modes ? Mode::evaluation : Mode::training;
  return {{L::template forward<first>, L::template forward<second>},
          {L::template backward<first>, L::template backward<second>},
          {L::template finish<first>, L::template finish<second>},
          L::scratch,
          L::gradients};
}

}  // namespace mk::MK_ISA
