// What a cell of sequences provides to the table: its items, for panels of 16 and of 32 rows.
#pragma once
#include "kernels/sequence_backward.h"
#include "kernels/sequence_few_rows_backward.h"
#include "kernels/sequence_few_rows_forward.h"
#include "kernels/sequence_forward.h"

namespace mk::MK_ISA {

// Adds the groups' partial sums in their order and writes them as the tensors' gradients; a piece is a range of units.
template <class Cell, class T>
struct SequenceFinish {
  using G = WeightGradients<Cell, T, 16>;  // the layout of partial sums does not depend on the panels
  const Direction<Cell, T> at;
  const SequenceShape& s;
  const T* const partial;
  const int64_t step;

  SequenceFinish(const SequenceShape& shape, const SequenceTensors<T>& t, int64_t index)
      : at(shape, t, index / shape.directions, index % shape.directions),
        s(shape),
        partial(t.partial + index * shape.groups * G::partial(shape)),
        step(G::partial(shape)) {}

  static void run(const SequenceShape& s, const SequenceTensors<T>& t, int64_t item, void*) {
    const SequenceFinish f(s, t, item / pack_pieces);
    const int64_t piece = item % pack_pieces;
    for (int64_t unit = piece * s.hidden / pack_pieces; unit < (piece + 1) * s.hidden / pack_pieces; ++unit)
      for (int64_t slot = 0; slot < sequence_sums; ++slot) f.finish_sum(t, slot, unit);
  }

  void finish_sum(const SequenceTensors<T>& t, int64_t slot, int64_t unit) const {
    const int64_t gate_h = Cell::recurrent_sums[slot], gate_x = Cell::input_sums[slot];
    const int64_t rows = at.index * Cell::gates * s.hidden, row_h = rows + gate_h * s.hidden + unit;
    const int64_t row_x = rows + gate_x * s.hidden + unit;
    const T bias = bias_sum(slot * s.hidden + unit);
    if (gate_h >= 0) {
      const int64_t begin = (slot * s.hidden + unit) * G::h_columns(s);
      if (t.dweight_hh != nullptr) add_groups(begin, 1, s.hidden, t.dweight_hh + row_h * s.hidden);
      if (t.dbias_hh != nullptr) t.dbias_hh[row_h] = bias;
      if (t.dweight_ih != nullptr && G::together && !s.symbols)
        add_groups(begin + s.hidden, 1, s.inputs, t.dweight_ih + row_x * s.inputs);
    }
    if (gate_x >= 0) {
      const int64_t sum = (slot - G::first_input) * s.hidden + unit;
      if (t.dbias_ih != nullptr) t.dbias_ih[row_x] = bias;
      if (t.dweight_ih == nullptr) return;
      if (s.symbols)
        add_groups(G::symbols_begin(s) + sum, (sequence_sums - G::first_input) * s.hidden, s.inputs,
                   t.dweight_ih + row_x * s.inputs);
      else if (!G::together)
        add_groups(G::x_begin(s) + sum * G::x_columns(s), 1, s.inputs, t.dweight_ih + row_x * s.inputs);
    }
  }

  void add_groups(int64_t begin, int64_t stride, int64_t count, T* out) const {
    for (int64_t k = 0; k < count; ++k) {
      T total = 0;
      for (int64_t group = 0; group < s.groups; ++group) {
        const T value = partial[group * step + begin + k * stride];
        total = group == 0 ? value : total + value;
      }
      out[k] = total;
    }
  }

  T bias_sum(int64_t sum) const {
    T total = 0;
    for (int64_t group = 0; group < s.groups; ++group) {
      T columns_of_sum[row_columns];
      for (int64_t c = 0; c < row_columns; ++c)
        columns_of_sum[c] = partial[group * step + G::bias_begin(s) + sum * row_columns + c];
      for (int64_t half = row_columns / 2; half > 0; half /= 2)
        for (int64_t c = 0; c < half; ++c) columns_of_sum[c] = columns_of_sum[c] + columns_of_sum[c + half];
      total = group == 0 ? columns_of_sum[0] : total + columns_of_sum[0];
    }
    return total;
  }
};

template <class Cell, class T>
struct Sequence {
  template <template <class, class, int> class Loop>
  static void run(const SequenceShape& s, const SequenceTensors<T>& t, int64_t item, void* scratch) {
    if (s.panel_rows == 16)
      Loop<Cell, T, 16>::run(s, t, item, scratch);
    else
      Loop<Cell, T, 32>::run(s, t, item, scratch);
  }
  static void pack_forward_item(const SequenceShape& s, const SequenceTensors<T>& t, int64_t item, void* scratch) {
    if (s.panel_rows == 16)
      pack_forward<Cell, T, 16>(s, t, item, scratch);
    else
      pack_forward<Cell, T, 32>(s, t, item, scratch);
  }
  static void pack_backward_item(const SequenceShape& s, const SequenceTensors<T>& t, int64_t item, void* scratch) {
    if (s.panel_rows == 16)
      BackwardProducts<Cell, T, 16>::pack(s, t, item, scratch);
    else
      BackwardProducts<Cell, T, 32>::pack(s, t, item, scratch);
  }
  static int64_t packed_forward(const SequenceShape& s) { return packed_forward_numbers<Cell>(s); }
  static int64_t packed_backward(const SequenceShape& s) { return BackwardProducts<Cell, T, 16>::packed_numbers(s); }
  static int64_t partial(const SequenceShape& s) { return WeightGradients<Cell, T, 16>::partial(s); }
  static int64_t forward_scratch(const SequenceShape& s) {
    return s.panel_rows == 16 ? SequenceForward<Cell, T, 16>::scratch(s) : SequenceForward<Cell, T, 32>::scratch(s);
  }
  static int64_t backward_scratch(const SequenceShape& s) {
    return s.panel_rows == 16 ? SequenceBackward<Cell, T, 16>::scratch(s) : SequenceBackward<Cell, T, 32>::scratch(s);
  }
  template <class Loop>
  static SequenceMemory few_memory(const SequenceShape& s) {
    return {typename Loop::Shared(s, nullptr).numbers, typename Loop::Own(s, nullptr).numbers};
  }

  static constexpr SequenceKernels<T> kernels = {pack_forward_item,
                                                 run<SequenceForward>,
                                                 pack_backward_item,
                                                 run<SequenceBackward>,
                                                 SequenceFinish<Cell, T>::run,
                                                 packed_forward,
                                                 packed_backward,
                                                 partial,
                                                 forward_scratch,
                                                 backward_scratch,
                                                 FewRowsForward<Cell, T>::run,
                                                 FewRowsBackward<Cell, T>::run,
                                                 few_memory<FewRowsForward<Cell, T>>,
                                                 few_memory<FewRowsBackward<Cell, T>>};
};

}  // namespace mk::MK_ISA
