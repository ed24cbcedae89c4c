// Where a model's and direction's numbers lie: in tensors, in packed weights, in saved gates.
#pragma once
#include "common/arena.h"
#include "common/denormals.h"
#include "kernels/sequences/products.h"
#include "kernels/sequences/rows.h"

namespace mk::MK_ISA {

MK_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// One direction of one model.
template <class Cell, class T>
struct Direction {
  const SequenceShape& s;
  const SequenceTensors<T>& t;
  const int64_t model, direction, index;

  Direction(const SequenceShape& shape, const SequenceTensors<T>& tensors, int64_t of_model, int64_t of_direction)
      : s(shape),
        t(tensors),
        model(of_model),
        direction(of_direction),
        index(of_model * shape.directions + of_direction) {}

  bool backwards() const { return direction == 1; }
  int64_t step(int64_t k) const { return backwards() ? s.steps - 1 - k : k; }     // the k-th in its order
  bool first(int64_t at) const { return at == (backwards() ? s.steps - 1 : 0); }  // no step comes before
  int64_t before(int64_t at) const { return backwards() ? at + 1 : at - 1; }

  const T* weight_ih() const { return t.weight_ih + index * Cell::gates * s.hidden * s.inputs; }
  const T* weight_hh() const { return t.weight_hh + index * Cell::gates * s.hidden * s.hidden; }

  // Where a sum of a unit starts: 0 without biases, and for units beyond the last.
  T bias(int slot, int64_t unit) const {
    T sum = 0;
    if (t.bias_ih == nullptr || unit >= s.hidden) return sum;
    const int64_t row = index * Cell::gates * s.hidden + unit;
    if (Cell::input_sums[slot] >= 0) sum = t.bias_ih[row + Cell::input_sums[slot] * s.hidden];
    if (Cell::recurrent_sums[slot] >= 0) sum = sum + t.bias_hh[row + Cell::recurrent_sums[slot] * s.hidden];
    return sum;
  }

  // offsets of row `row` at step `at`
  int64_t step_row(int64_t at, int64_t row) const { return (model * s.steps + at) * s.batch + row; }
  int64_t x_row(int64_t at, int64_t row) const { return step_row(at, row) * s.x_inputs; }
  int64_t token_row(int64_t at, int64_t row) const { return step_row(at, row); }
  int64_t y_step() const { return s.directions * s.hidden; }
  int64_t y_row(int64_t at, int64_t row) const {
    return ((model * s.steps + at) * s.batch + row) * y_step() + direction * s.hidden;
  }
  int64_t state_row(int64_t row) const { return (index * s.batch + row) * s.hidden; }

  // Saved gates: (E,D,panels,T,H,4,rows of the panel), so that a panel's steps are one stream.
  int64_t gates_at(int64_t at, int64_t panel, int64_t rows) const {
    const int64_t unit = sequence_sums * s.hidden;
    return index * s.steps * s.batch * unit + panel * s.panel_rows * s.steps * unit + at * unit * rows;
  }
  // In a small batch: (E,D,T,B,4,H).
  int64_t small_batch_gates_at(int64_t at, int64_t row) const {
    return ((index * s.steps + at) * s.batch + row) * sequence_sums * s.hidden;
  }
};

MK_INLINE int64_t rows_of(const SequenceShape& s, int64_t panel) {
  return smaller(s.panel_rows, s.batch - panel * s.panel_rows);
}

MK_INLINE int64_t length_of(const SequenceShape& s, const int64_t* lengths, int64_t model, int64_t row) {
  return lengths == nullptr ? s.steps : lengths[model * s.batch + row];
}
inline int64_t longest_of(const SequenceShape& s, const int64_t* lengths, int64_t model, int64_t panel) {
  int64_t longest = 0;
  for (int64_t r = 0; r < rows_of(s, panel); ++r) {
    const int64_t length = length_of(s, lengths, model, panel * s.panel_rows + r);
    if (length > longest) longest = length;
  }
  return longest;
}

// Masks for packs of a panel's rows: all bits where `step` comes before the row's end, none for rows beyond the batch.
// Lengths are compared as the integers that they are: a float holds no more than 2^24 of them.  Returns whether a row
// of the batch has ended.
template <class T>
using RowMask = typename IntOf<T>::type;
template <class T>
inline bool mark_valid(const SequenceShape& s, const int64_t* lengths, int64_t model, int64_t panel, int64_t step,
                       RowMask<T>* valid) {
  bool ended = false;
  const int64_t used = rows_of(s, panel);
  for (int64_t r = 0; r < s.panel_rows; ++r) {
    const bool is_valid = r < used && step < length_of(s, lengths, model, panel * s.panel_rows + r);
    valid[r] = is_valid ? -1 : 0;
    ended = ended || (r < used && !is_valid);
  }
  return ended;
}
template <class V>
MK_INLINE auto load_mask(const RowMask<Real<V>>* valid) {
  typename Number<V>::Mask mask;
  __builtin_memcpy(&mask, valid, sizeof mask);
  return mask;
}

// Adds to a sum, and to `lost` what its rounding takes away (the larger of the two numbers tells exactly how much).
template <class V>
MK_INLINE void add_exactly(V value, Real<V>* sum_place, Real<V>* lost_place) {
  const V sum = V::load(sum_place), next = sum + value;
  const V lost = select(abs(sum) >= abs(value), (sum - next) + value, (value - next) + sum);
  next.store(sum_place);
  (V::load(lost_place) + lost).store(lost_place);
}
// Where the sum is infinite, what was lost is not a number.
template <class T>
MK_INLINE T with_lost(T sum, T lost) {
  return lost == lost ? sum + lost : sum;
}

// What the cells' sums are made of.  A part of a tile is the sums that one product makes: `gates` slots of `tile`
// units.
template <class Cell, class T, int rows>
struct Sums {
  static constexpr int gates = Cell::gates == 4 ? Products<T, rows>::scale : many_registers ? 3 : 1;
  static constexpr int parts = Cell::gates / gates;
  static constexpr int first_input = Cell::input_sums[0] < 0 ? 1 : 0;  // slot of the first product with x
};

// How many rows `depth` elements of the reduction dimension take where products read them.
MK_INLINE int64_t depth_rows(const SequenceShape& s, int64_t depth) { return s.pairs ? depth / 2 : depth; }

template <class Cell>
MK_INLINE int64_t packed_forward_numbers(const SequenceShape& s) {
  return rounded_up(s.tiles * s.tile * (Cell::gates * (s.depth_x + s.depth_h) + sequence_sums), 16);
}

// The weights of forward: [tile][part][k: x, then h][slot of the part][unit], then the bias: [tile][slot][unit].  In
// words, those of a part are the first half of its place.
template <class Cell, class T, int rows>
void pack_forward(const SequenceShape& s, const SequenceTensors<T>& t, int64_t item, void*) {
  using Z = Sums<Cell, T, rows>;
  const Direction<Cell, T> at(s, t, item / pack_pieces / s.directions, item / pack_pieces % s.directions);
  const int64_t depth = s.depth_x + s.depth_h, piece = item % pack_pieces;
  const int64_t outputs = Z::gates * s.tile, tile_numbers = Z::parts * depth * outputs;
  T* const packed = t.packed + at.index * packed_forward_numbers<Cell>(s);
  T* const biases = packed + s.tiles * tile_numbers;
  for (int64_t tile = piece * s.tiles / pack_pieces; tile < (piece + 1) * s.tiles / pack_pieces; ++tile) {
    const int64_t first = tile * s.tile, units = smaller(s.tile, s.hidden - first);
    T* const weights = packed + tile * tile_numbers;
    if (units < s.tile || depth > s.columns + s.hidden) fill(weights, tile_numbers, T(0));
    for (int64_t slot = 0; slot < Cell::gates; ++slot) {
      T* const out = weights + slot / Z::gates * depth * outputs + slot % Z::gates * s.tile;
      const int64_t x_row = Cell::input_sums[Z::first_input + slot] * s.hidden + first;
      const int64_t h_row = Cell::recurrent_sums[slot] * s.hidden + first;
      transpose(at.weight_ih() + x_row * s.inputs + s.inputs - s.columns, s.inputs, units, s.columns, out, outputs);
      transpose(at.weight_hh() + h_row * s.hidden, s.hidden, units, s.hidden, out + s.depth_x * outputs, outputs);
    }
    if (s.bfloat16)
      for (int part = 0; part < Z::parts; ++part) {
        T* const place = weights + part * depth * outputs;
        to_pairs(s.pairs, depth, outputs, place, place);
      }
    for (int slot = 0; slot < sequence_sums; ++slot)
      for (int64_t unit = first; unit < first + s.tile; ++unit)
        biases[(tile * sequence_sums + slot) * s.tile + unit - first] = at.bias(slot, unit);
  }
}

}  // namespace mk::MK_ISA
