// The last step of backward: partial sums to gradients of weights and biases.
#pragma once
#include "kernels/sequences/gradients.h"

namespace mk::MK_ISA {

// Adds the partial sums of the groups in memory, in their order, to the tensors' gradients, which a sequence's first
// group begins; a piece is a range of units.
template <class Cell, class T>
struct SequenceFinish {
  using G = WeightGradients<Cell, T, 16>;  // the layout of partial sums does not depend on the panels
  const Direction<Cell, T> at;
  const SequenceShape& s;
  const SequenceTensors<T>& t;
  const int64_t first_item;  // the first group's
  const int64_t begin, end;  // groups

  SequenceFinish(const SequenceShape& shape, const SequenceTensors<T>& tensors, int64_t index)
      : at(shape, tensors, index / shape.directions, index % shape.directions),
        s(shape),
        t(tensors),
        first_item(index / shape.item_directions * shape.groups),
        begin(t.first_item > first_item ? t.first_item - first_item : 0),
        end(smaller(shape.groups, t.first_item + t.items - first_item)) {}

  static void run(const SequenceShape& s, const SequenceTensors<T>& t, int64_t item, void*) {
    const SequenceFinish f(s, t, t.first_sequence + item / pack_pieces);
    const int64_t piece = item % pack_pieces;
    const int64_t first = piece * s.hidden / pack_pieces, last = (piece + 1) * s.hidden / pack_pieces;
    for (int64_t unit = first; unit < last; ++unit)
      for (int64_t slot = 0; slot < sequence_sums; ++slot) f.finish_sum(slot, unit);
    if (s.token_ids && t.dweight_ih != nullptr)
      for (int64_t slot = G::first_input; slot < sequence_sums; ++slot)
        for (int64_t unit = first; unit < last; unit += token_units)
          f.finish_tokens(slot, unit, smaller(token_units, last - unit));
  }

  T* partial(int64_t group) const {
    const int64_t slot = (first_item + group - t.first_item) * s.item_directions + at.index % s.item_directions;
    return t.partial + slot * G::partial(s);
  }
  int64_t row_of(int64_t gate, int64_t unit) const { return (at.index * Cell::gates + gate) * s.hidden + unit; }

  void finish_sum(int64_t slot, int64_t unit) const {
    const int64_t gate_h = Cell::recurrent_sums[slot], gate_x = Cell::input_sums[slot];
    const int64_t row_h = row_of(gate_h, unit), row_x = row_of(gate_x, unit);
    if (gate_h >= 0) {
      const int64_t place = (slot * s.hidden + unit) * G::h_columns(s);
      if (t.dweight_hh != nullptr) add_groups(place, s.hidden, t.dweight_hh + row_h * s.hidden);
      if (t.dbias_hh != nullptr) add_bias(slot * s.hidden + unit, t.dbias_hh + row_h);
      if (t.dweight_ih != nullptr && G::together)
        add_groups(place + s.hidden, s.columns, t.dweight_ih + (row_x + 1) * s.inputs - s.columns);
    }
    if (gate_x >= 0) {
      const int64_t sum = (slot - G::first_input) * s.hidden + unit;
      if (t.dbias_ih != nullptr) add_bias(slot * s.hidden + unit, t.dbias_ih + row_x);
      if (t.dweight_ih != nullptr && !G::together)
        add_groups(G::x_begin(s) + sum * G::x_columns(s), s.columns, t.dweight_ih + (row_x + 1) * s.inputs - s.columns);
    }
  }

  void add_groups(int64_t place, int64_t count, T* out) const {
    for (int64_t group = begin; group < end; ++group) {
      const T* const values = partial(group) + place;
      for (int64_t k = 0; k < count; ++k) out[k] = group == 0 ? values[k] : out[k] + values[k];
    }
  }

  void add_bias(int64_t sum, T* out) const {
    for (int64_t group = begin; group < end; ++group) {
      const T* const sums = partial(group) + G::bias_begin(s) + sum * sum_columns;
      T columns_of_sum[sum_columns];
      for (int64_t c = 0; c < sum_columns; ++c) columns_of_sum[c] = with_lost(sums[c], sums[G::bias_numbers(s) + c]);
      for (int64_t half = sum_columns / 2; half > 0; half /= 2)
        for (int64_t c = 0; c < half; ++c) columns_of_sum[c] = columns_of_sum[c] + columns_of_sum[c + half];
      *out = group == 0 ? columns_of_sum[0] : *out + columns_of_sum[0];
    }
  }

  // Of some units: a token's sums lie together, and each goes into another row of the gradient.
  static constexpr int64_t token_units = 16;
  void finish_tokens(int64_t slot, int64_t first, int64_t units) const {
    T* const out = t.dweight_ih + row_of(Cell::input_sums[slot], first) * s.inputs;
    if (begin == 0)
      for (int64_t k = 0; k < units; ++k) fill(out + k * s.inputs, s.x_inputs, T(0));
    for (int64_t group = begin; group < end; ++group) {
      const TokenSums<T> token_ids(partial(group) + G::tokens_begin(s), G::most_tokens(s), G::token_sums(s));
      const T* sums = token_ids.sums + (slot - G::first_input) * s.hidden + first;
      for (int64_t place = 0; place < token_ids.places.count(); ++place, sums += token_ids.wide) {
        T* const column = out + token_ids.places.token(place);
        for (int64_t k = 0; k < units; ++k) column[k * s.inputs] = column[k * s.inputs] + sums[k];
      }
    }
  }
};

}  // namespace mk::MK_ISA
