// Linear layer:  y_o = w_oI + sum over i of w_oi x_i, I inputs and in the last column of the weights the bias.
//
// Forward and both gradients are the register-blocked product of common/matmul.h over panels of 32 columns: of rows of
// the batch (y and dx), or of inputs (dw, where the bias has the input 1).  Each sum is one chain in the order of the
// inputs, of the outputs, or of 32 rows, so no result of a row depends on the rows beside it.  Sums over a batch add
// the chains in the order of the rows.
#include "common/arena.h"
#include "kernels/sequences/products.h"
#include "kernels/table.h"

namespace mk::MK_ISA {

template <class T>
struct LinearLayer {
  using Product32 = Products<T, columns>;
  static constexpr int most = 12;  // outputs of a product's block

  // What one thread needs: the panels of a chunk, weights in the order of the products, and a tile of results.
  struct Scratch {
    int64_t panels;                    // of 32 rows, in a chunk
    T *rows, *weights, *tile, *total;  // panels x depth x 32; blocks x depth x outputs; outputs x 32
    T* start;                          // where the chains of a block begin
    Scratch(void* memory, const LayerShape& s, int64_t depth, int64_t outputs, int64_t* bytes = nullptr) {
      const int64_t batch = s.batch < chunk_rows ? s.batch : chunk_rows;
      panels = (batch + columns - 1) / columns;
      Arena m(memory);
      rows = m.take<T>(panels * depth * columns);
      weights = m.take<T>(depth * rounded_up(outputs, most) + depth * most);
      tile = m.take<T>(most * columns);
      total = m.take<T>(most * columns);
      start = m.take<T>(rounded_up(outputs, most) + most);
      if (bytes != nullptr) *bytes = m.used();
    }
  };
  static int64_t bytes_of(const LayerShape& s, int64_t depth, int64_t outputs) {
    int64_t bytes = 0;
    Scratch(nullptr, s, depth, outputs, &bytes);
    return bytes;
  }
  static int64_t forward_scratch(const LayerShape& s) { return bytes_of(s, s.in, s.out); }
  static int64_t backward_scratch(const LayerShape& s) {
    const int64_t dx = bytes_of(s, s.out, s.in),
                  dw = bytes_of({s.models, columns, s.in, s.out, 1, 1}, chunk_rows, s.out);
    return dx > dw ? dx : dw;
  }
  static int64_t gradients(int64_t in) { return in + 1; }

  struct Rows {
    int64_t model, begin, end;
    Rows(const LayerShape& s, int64_t item)
        : model(item / s.blocks), begin(item % s.blocks * s.block_rows), end(begin) {
      end = begin + s.block_rows < s.batch ? begin + s.block_rows : s.batch;
    }
    int64_t count(int64_t row) const { return end - row < chunk_rows ? end - row : chunk_rows; }
  };

  static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

  // The rows of a chunk as panels of `depth` numbers, zeros behind the last row.
  static void gather(const T* in, int64_t rows, int64_t depth, T* panels) {
    for (int64_t row = 0; row < rows; row += columns, panels += depth * columns)
      to_panel(in + row * depth, depth, least(rows - row, columns), depth, panels, columns);
  }

  // out (rows, outputs) from panels of rows and blocks of weights; each chain begins at its number of start.
  static void multiply(int64_t rows, int64_t depth, int64_t outputs, BlockWidth block, Scratch& m, T* out) {
    Product<T>* const product = Product32::of(block.outputs, false);
    for (int64_t first = 0; first < outputs; first += block.outputs) {
      const int64_t some = least(outputs - first, block.outputs);
      for (int64_t row = 0; row < rows; row += columns) {
        product(depth, m.weights + first * depth, m.rows + row * depth, m.start + first, m.tile);
        from_panel(m.tile, columns, least(rows - row, columns), some, out + row * outputs + first, outputs);
      }
    }
  }

  static void forward(const LayerShape& s, const LayerTensors<T>& t, int64_t item, void* memory) {
    const Rows block(s, item);
    Scratch m(memory, s, s.in, s.out);
    const BlockWidth width = Product32::block(s.out);
    const T* w = t.weight + block.model * s.out * (s.in + 1);
    for (int64_t first = 0; first < s.out; first += width.outputs)
      to_panel(w + first * (s.in + 1), s.in + 1, least(s.out - first, width.outputs), s.in, m.weights + first * s.in,
               width.outputs);
    fill(m.start, width.count * width.outputs, T(0));
    for (int64_t o = 0; o < s.out; ++o) m.start[o] = w[o * (s.in + 1) + s.in];
    for (int64_t row = block.begin; row < block.end; row += chunk_rows) {
      const int64_t first = block.model * s.batch + row, rows = block.count(row);
      gather(t.x + first * s.in, rows, s.in, m.rows);
      multiply(rows, s.in, s.out, width, m, t.y + first * s.out);
    }
  }

  static void inputs_backward(const LayerShape& s, const LayerTensors<T>& t, const Rows& block, void* memory) {
    if (s.in == 0 || t.dx == nullptr) return;  // null: not asked for
    Scratch m(memory, s, s.out, s.in);
    const BlockWidth width = Product32::block(s.in);
    const T* w = t.weight + block.model * s.out * (s.in + 1);
    for (int64_t first = 0; first < s.in; first += width.outputs)
      for (int64_t o = 0; o < s.out; ++o) {
        T* const to = m.weights + first * s.out + o * width.outputs;
        const int64_t some = least(s.in - first, width.outputs);
        for (int64_t i = 0; i < some; ++i) to[i] = w[o * (s.in + 1) + first + i];
        fill(to + some, width.outputs - some, T(0));
      }
    fill(m.start, width.count * width.outputs, T(0));
    for (int64_t row = block.begin; row < block.end; row += chunk_rows) {
      const int64_t first = block.model * s.batch + row, rows = block.count(row);
      gather(t.dy + first * s.out, rows, s.out, m.rows);
      multiply(rows, s.out, s.in, width, m, t.dx + first * s.in);
    }
  }

  // Adds a chunk's part of the gradients of the weights to a block's sums.
  static void weights_backward(const LayerShape& s, const T* dy, const T* x, int64_t rows, Scratch& m, T* sums) {
    const BlockWidth width = Product32::block(s.out);
    Product<T>* const product = Product32::of(width.outputs, false);
    for (int64_t first = 0; first < s.out; first += width.outputs)
      for (int64_t row = 0; row < rows; ++row) {
        T* const to = m.weights + first * chunk_rows + row * width.outputs;
        const int64_t some = least(s.out - first, width.outputs);
        for (int64_t o = 0; o < some; ++o) to[o] = dy[row * s.out + first + o];
        fill(to + some, width.outputs - some, T(0));
      }
    fill(m.start, width.outputs, T(0));
    for (int64_t i = 0; i <= s.in; i += columns) {
      const int64_t inputs = least(s.in - i, columns), sums_wide = least(s.in + 1 - i, columns);
      for (int64_t row = 0; row < rows; ++row) {
        T* const to = m.rows + row * columns;
        for (int64_t k = 0; k < inputs; ++k) to[k] = x[row * s.in + i + k];
        fill(to + inputs, columns - inputs, T(0));
        if (inputs < columns) to[inputs] = T(1);
      }
      for (int64_t first = 0; first < s.out; first += width.outputs) {
        fill(m.total, most * columns, T(0));
        for (int64_t row = 0; row < rows; row += columns) {
          const T* const gradients_of_rows = m.weights + first * chunk_rows + row * width.outputs;
          product(least(rows - row, columns), gradients_of_rows, m.rows + row * columns, m.start, m.tile);
          for (int64_t k = 0; k < most * columns; ++k) m.total[k] = m.total[k] + m.tile[k];
        }
        const int64_t some = least(s.out - first, width.outputs);
        for (int64_t o = 0; o < some; ++o) {
          T* const to = sums + (first + o) * (s.in + 1) + i;
          for (int64_t k = 0; k < sums_wide; ++k) to[k] = to[k] + m.total[o * columns + k];
        }
      }
    }
  }

  static void backward(const LayerShape& s, const LayerTensors<T>& t, int64_t item, void* memory) {
    const Rows block(s, item);
    const int64_t count = s.out * (s.in + 1);
    inputs_backward(s, t, block, memory);
    T* const sums = t.partial + item * count;
    fill(sums, count, T(0));
    Scratch m(memory, {s.models, columns, s.in, s.out, 1, 1}, chunk_rows, s.out);
    for (int64_t row = block.begin; row < block.end; row += chunk_rows) {
      const int64_t first = block.model * s.batch + row;
      weights_backward(s, t.dy + first * s.out, t.x + first * s.in, block.count(row), m, sums);
    }
    if (s.blocks == 1) finish(s, t, block.model, memory);
  }

  // Adds the blocks of one model in their order.
  static void finish(const LayerShape& s, const LayerTensors<T>& t, int64_t model, void*) {
    const int64_t count = s.out * (s.in + 1);
    const T* const sums = t.partial + model * s.blocks * count;
    T* const to = t.dweight + model * count;
    for (int64_t k = 0; k < count; ++k) to[k] = sums[k];
    for (int64_t block = 1; block < s.blocks; ++block)
      for (int64_t k = 0; k < count; ++k) to[k] = to[k] + sums[block * count + k];
  }

  static constexpr LayerKernels<T> kernels() {
    return {
        {forward, forward}, {backward, backward}, {finish, finish}, forward_scratch, backward_scratch, gradients, 0};
  }
};

#define MK_LINEAR(real, ...) constexpr LayerKernels<real> linear_##real = LinearLayer<real>::kernels();
MK_FOR_EACH_REAL(MK_LINEAR, )
#undef MK_LINEAR

}  // namespace mk::MK_ISA
