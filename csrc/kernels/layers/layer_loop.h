// The loops of a layer over one cell: lanes are samples, a block of rows is transposed into scratch once, and every
// output of the model runs over it.  Backward repeats the forward of a pack instead of keeping its saved values.
#pragma once
#include "cells/cell.h"
#include "common/arena.h"
#include "common/lanes.h"
#include "common/transpose.h"
#include "kernels/table.h"

namespace mk::MK_ISA {

// `gates`: how many of the cell's parameters per input are gates, which the outputs of a model share.
template <class Cell, int gates, class T>
struct Layer {
  static constexpr bool gated = gates > 0;
  using V = Pack<T>;
  static constexpr int width = Number<V>::width;
  static constexpr int sets = columns / width;  // packs that one row of 32 columns takes
  static constexpr int64_t panel_outputs = 16;  // outputs whose results change between rows and packs together
  static constexpr bool shares = Cell::of_inputs(1) > 0;  // saved numbers that all outputs use

  static constexpr int weights(int n) { return Cell::parameters(n) - gates * n; }
  static int64_t gradients(int64_t in) { return Cell::gradients(static_cast<int>(in)); }

  // Rows of a chunk that are really there, in whole packs of the widest machine.
  static int64_t rows_at_once(const LayerShape& s) {
    constexpr int64_t lanes = alignment / int64_t{sizeof(T)};
    return s.batch < chunk_rows ? rounded_up(s.batch, lanes) : chunk_rows;
  }
  static int64_t outputs_at_once(const LayerShape& s) { return s.out < panel_outputs ? s.out : panel_outputs; }

  enum class Pass { forward, backward };
  struct Scratch {
    int64_t rows;            // of a chunk
    V *x, *dx;               // rows x n, in packs: samples and, in backward, their gradients
    V* saved;                // of the pack in hand; where outputs share some of it, of all packs
    V *derived, *dx_output;  // of the output in hand
    V *sums, *kept;          // sets x gradients; one set
    T* panel;                // outputs_at_once x rows: results of outputs, or their gradients
    T *parameters, *scalars, *totals;

    Scratch(void* memory, const LayerShape& s, Pass pass) : rows(rows_at_once(s)) {
      const int n = static_cast<int>(s.in);
      const int64_t packs = rows / width, in_backward = pass == Pass::backward ? 1 : 0;
      Arena m(memory);
      x = m.take<V>(packs * n);
      dx = m.take<V>(in_backward * packs * n);
      saved = m.take<V>((shares ? packs : 1) * Cell::saved(n));
      derived = m.take<V>(Cell::derived(n));
      dx_output = m.take<V>(in_backward * n);
      sums = m.take<V>(in_backward * sets * Cell::gradients(n));
      kept = m.take<V>(in_backward * Cell::gradients(n));
      panel = m.take<T>(rows * outputs_at_once(s));
      parameters = m.take<T>(Cell::parameters(n) + Cell::derived(n) + in_backward * Cell::gradients(n));
      scalars = parameters + Cell::parameters(n);
      totals = scalars + Cell::derived(n);
    }
  };
  // An upper bound of what Scratch takes on any machine: columns and rows in numbers, the rest in the widest packs.
  // docs/memory.md states it.
  template <Pass pass>
  static int64_t scratch(const LayerShape& s) {
    const int n = static_cast<int>(s.in);
    const int64_t rows = rows_at_once(s), of_rows = (shares ? rows : 0) * Cell::saved(n);
    int64_t numbers = rows * (s.in + outputs_at_once(s)) + of_rows + Cell::parameters(n) + Cell::derived(n);
    int64_t packs = Cell::derived(n) + (shares ? 0 : Cell::saved(n));
    if (pass == Pass::backward) {
      numbers += rows * s.in + int64_t{columns + 1} * Cell::gradients(n);
      packs += s.in + Cell::gradients(n);
    }
    return rounded_up(numbers * int64_t{sizeof(T)}, alignment) + packs * alignment;
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

  // Rows beyond `rows` are filled with 1, which no cell minds; their results are not used.
  static void gather_rows(const T* x, int64_t rows, int n, V* packs) {
    for (int64_t row = 0; row < rows; row += width, packs += n) {
      const int64_t lanes = rows - row < width ? rows - row : width;
      if (lanes < width)
        for (int i = 0; i < n; ++i) packs[i] = splat<V>(T(1));
      transpose(x + row * n, n, lanes, n, reinterpret_cast<T*>(packs), width);
    }
  }
  static void scatter_rows(const V* packs, int64_t rows, int n, T* x) {
    for (int64_t row = 0; row < rows; row += width, packs += n)
      transpose(reinterpret_cast<const T*>(packs), width, n, rows - row < width ? rows - row : width, x + row * n, n);
  }

  static int64_t outputs_from(const LayerShape& s, int64_t first) {
    return s.out - first < panel_outputs ? s.out - first : panel_outputs;
  }
  // What forward keeps of a pack; where outputs share some of it, that is made once.
  static V* saved_of(int n, int64_t pack, Scratch& m) { return m.saved + (shares ? pack * Cell::saved(n) : 0); }
  template <Mode mode, bool inverted>
  static MK_INLINE V forward_pack(int n, CellOptions<T> options, const V* x, bool first, Scratch& m, V* saved) {
    if constexpr (shares) {
      if (first) Cell::template inputs<inverted>(n, options, x, m.derived, saved);
      return Cell::output(n, x, m.derived, saved);
    } else {
      return Cell::template forward<mode>(n, options, x, m.derived, saved);
    }
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
    Scratch m(memory, s, Pass::forward);
    for (int64_t row = block.begin; row < block.end; row += chunk_rows) {
      const int64_t first = block.model * s.batch + row, rows = block.count(row);
      gather_rows(t.x + first * n, rows, n, m.x);
      for (int64_t output = 0; output < s.out; ++output) {
        const int64_t column = output % panel_outputs, from = output - column;
        prepare<mode>(s, t, block.model, output, m);
        spread(n, m);
        T* z = m.panel + column * m.rows;
        for (int64_t done = 0; done < rows; done += width) {
          V* const saved = saved_of(n, done / width, m);
          forward_pack<mode, false>(n, options, m.x + done / width * n, output == 0, m, saved).store(z + done);
        }
        if (column + 1 == outputs_from(s, from))
          transpose_apart(m.panel, m.rows, column + 1, rows, t.y + first * s.out + from, s.out);
      }
    }
  }

  // One pack of samples for one output: adds to the sums and to the pack's dx.
  template <Mode mode>
  static MK_INLINE void backward_pack(int n, CellOptions<T> options, V dz, int64_t lanes, const V* x, bool first,
                                      V* saved, V* sums, V* dx, Scratch& m) {
    const bool tail = lanes < width;
    if (tail)
      for (int k = 0; k < Cell::gradients(n); ++k) m.kept[k] = sums[k];
    forward_pack<mode, true>(n, options, x, first, m, saved);
    if constexpr (shares)
      Cell::template backward<true, true>(n, options, x, m.derived, saved, dz, sums, m.dx_output);
    else
      Cell::template backward<true>(n, options, x, m.derived, saved, dz, sums, m.dx_output);
    for (int i = 0; i < n; ++i) dx[i] = dx[i] + m.dx_output[i];
    if (!tail) return;
    V index;
    for (int lane = 0; lane < width; ++lane) index.raw[lane] = static_cast<T>(lane);
    for (int k = 0; k < Cell::gradients(n); ++k)
      sums[k] = select(index < splat<V>(static_cast<T>(lanes)), sums[k], m.kept[k]);
  }

  // Adds the 32 columns of every gradient as a balanced tree.
  static void fold_columns(int64_t count, V* sums, T* partial) {
    for (int64_t half = sets / 2; half > 0; half /= 2)
      for (int64_t k = 0; k < half * count; ++k) sums[k] = sums[k] + sums[half * count + k];
    for (int64_t k = 0; k < count; ++k) partial[k] = partial[k] + lane_sum(sums[k]);
  }

  // Gradients of some outputs of a chunk's rows into the panel, zeros after the last row.
  static void load_gradients(const LayerShape& s, const LayerTensors<T>& t, int64_t row, int64_t rows, int64_t first,
                             Scratch& m) {
    const int64_t outputs = outputs_from(s, first);
    transpose_apart(t.dy + row * s.out + first, s.out, rows, outputs, m.panel, m.rows);
    for (int64_t column = 0; column < outputs; ++column)
      for (int64_t r = rows; r % width != 0; ++r) m.panel[column * m.rows + r] = T(0);
  }

  template <Mode mode>
  static void backward(const LayerShape& s, const LayerTensors<T>& t, int64_t item, void* memory) {
    const int n = static_cast<int>(s.in);
    const int64_t count = Cell::gradients(n);
    const Rows block(s, item);
    Scratch m(memory, s, Pass::backward);
    T* partial = t.partial + item * s.out * count;
    for (int64_t k = 0; k < s.out * count; ++k) partial[k] = T(0);
    for (int64_t row = block.begin; row < block.end; row += chunk_rows) {
      const int64_t first = block.model * s.batch + row, rows = block.count(row);
      gather_rows(t.x + first * n, rows, n, m.x);
      for (int64_t k = 0; k < (rows + width - 1) / width * n; ++k) m.dx[k] = splat<V>(T(0));
      for (int64_t output = 0; output < s.out; ++output) {
        const int64_t column = output % panel_outputs;
        if (column == 0) load_gradients(s, t, first, rows, output, m);
        prepare<mode>(s, t, block.model, output, m);
        spread(n, m);
        for (int64_t k = 0; k < sets * count; ++k) m.sums[k] = splat<V>(T(0));
        for (int64_t done = 0; done < rows; done += width) {
          const int64_t pack = done / width;
          const V dz = V::load(m.panel + column * m.rows + done);
          backward_pack<mode>(n, CellOptions<T>{t.epsilon}, dz, rows - done, m.x + pack * n, output == 0,
                              saved_of(n, pack, m), m.sums + pack % sets * count, m.dx + pack * n, m);
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
    Scratch m(memory, s, Pass::backward);
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
          L::template scratch<L::Pass::forward>,
          L::template scratch<L::Pass::backward>,
          L::gradients,
          gates};
}

// The kernels of a layer by its name in MK_LAYER_KINDS; the cell comes last.
#define MK_DEFINE_LAYER(real, name, modes, gates, ...) \
  constexpr LayerKernels<real> name##_##real = layer_kernels<__VA_ARGS__, real, modes, gates>();
#define MK_LAYER(name, modes, gates, ...) MK_FOR_EACH_REAL(MK_DEFINE_LAYER, name, modes, gates, __VA_ARGS__)

}  // namespace mk::MK_ISA
