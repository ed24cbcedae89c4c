// A sequence backward: an item takes a group of rows through all steps of its directions, the last step first.
#pragma once
#include "kernels/attention/decoder_backward.h"
#include "kernels/sequences/gradients.h"

namespace mk::MK_ISA {

template <class Cell, class T, int rows>
struct SequenceBackward {
  using V = Pack<T>;
  using Back = BackwardProducts<Cell, T, rows>;
  using GradientMemory = typename WeightGradients<Cell, T, rows>::Memory;
  static constexpr int width = Number<V>::width;

  // A panel on its way back through the steps; all [hidden][rows] but the last.
  struct Panel {
    int64_t number, rows_used, longest;
    T* outputs;         // [outputs of products][rows]: the gradient of h, then of x
    T* dcarried;        // LSTM: the gradient of c
    T* after;           // LSTM: c after the step
    T* before;          // the carried state before the step
    T* dy;              // what arrives at h from outside, and
    T* dcells;          // at c
    T* factors;         // of the step's products, where they are of bfloat16
    RowMask<T>* valid;  // [rows]: which rows have not ended at the step
    bool ended;         // whether one has
    bool fresh;         // no step has been taken yet
    DecoderBackward<T, rows> attention;

    void take(const SequenceShape& s, Arena& m) {
      outputs = m.take<T>(Back::padded_outputs(s) * rows);
      T** const states[] = {&dcarried, &after, &before, &dy, &dcells};
      for (T** state : states) *state = m.take<T>(s.hidden * rows);
      valid = m.take<RowMask<T>>(rows);
      factors = m.take<T>(Back::factor_numbers(s));
      if (s.attention.is_there()) attention.take(s, m);
    }
  };

  // Of a thread.
  struct Scratch {
    Panel panels[most_block_panels];
    GradientMemory gradients;
    int64_t bytes;
    Scratch(const SequenceShape& s, void* memory) {
      Arena m(memory);
      for (int64_t p = 0; p < s.block_panels; ++p) panels[p].take(s, m);
      gradients.take(s, m);
      bytes = m.used();
    }
  };
  static int64_t scratch(const SequenceShape& s) { return Scratch(s, nullptr).bytes; }

  const SequenceShape& s;
  const SequenceTensors<T>& t;
  const Direction<Cell, T> at;
  const Back products;
  WeightGradients<Cell, T, rows> gradients;
  Panel* const panels;

  SequenceBackward(const SequenceShape& shape, const SequenceTensors<T>& tensors, int64_t index, int64_t slot,
                   Scratch& memory)
      : s(shape),
        t(tensors),
        at(shape, tensors, index / shape.directions, index % shape.directions),
        products(shape, tensors.packed + at.index * Back::packed_numbers(shape), Back::takes_inputs(shape, tensors)),
        gradients(at, slot, memory.gradients),
        panels(memory.panels) {}

  static void run(const SequenceShape& s, const SequenceTensors<T>& t, int64_t item, void* scratch_memory) {
    const int64_t group = item % s.groups, first = item / s.groups * s.item_directions;
    Scratch memory(s, scratch_memory);
    for (int64_t k = 0; k < s.item_directions; ++k) {
      SequenceBackward b(s, t, first + k, (item - t.first_item) * s.item_directions + k, memory);
      const int64_t end = smaller((group + 1) * s.group_blocks, s.blocks);
      for (int64_t block = group * s.group_blocks; block < end; ++block) b.take_block(block);
    }
  }

  void take_block(int64_t block) {
    const int64_t first = block * s.block_panels, count = smaller(s.block_panels, s.panels - first);
    for (int64_t p = 0; p < count; ++p) start(panels[p], first + p);
    for (int64_t k = s.steps - 1; k >= 0; --k) {
      const int64_t step = at.step(k);
      const T* factors[most_block_panels];
      for (int64_t p = 0; p < count; ++p) {
        factors[p] = nullptr;
        if (step >= panels[p].longest) {
          if (s.attention.is_there()) panels[p].attention.skip(step);
          continue;
        }
        T* const entry = gradients.entry(step, panels[p].number);
        take_step(panels[p], step, entry);
        factors[p] = products.factors(entry, panels[p].factors);
      }
      products.take(factors, count, [&](int64_t p) { return panels[p].outputs; });
      for (int64_t p = 0; p < count; ++p)
        if (factors[p] != nullptr && panels[p].ended) keep_ended(panels[p]);
      if (s.attention.is_there())
        for (int64_t p = 0; p < count; ++p)
          if (factors[p] != nullptr)
            panels[p].attention.after_products(step, panels[p].outputs, fed(panels[p]), ended_rows(panels[p]));
      for (int64_t p = 0; p < count; ++p) write_dx(panels[p], step, factors[p] != nullptr);
      if (gradients.full(count)) gradients.flush();
    }
    gradients.flush();
    for (int64_t p = 0; p < count; ++p) finish(panels[p]);
  }

  int64_t row(const Panel& p) const { return p.number * rows; }
  T* fed(const Panel& p) const { return p.outputs + (Back::input_output(s) + s.x_columns) * rows; }
  const RowMask<T>* ended_rows(const Panel& p) const { return p.ended ? p.valid : nullptr; }
  const T* initial() const { return Cell::carries_h ? t.h0 : t.c0; }
  const T* carried() const { return Cell::carries_h ? t.saved_y : t.saved_cells; }

  void start(Panel& p, int64_t number) const {
    p.number = number;
    p.rows_used = rows_of(s, number);
    p.ended = false;
    p.fresh = true;
    p.longest = longest_of(s, t.lengths, at.model, number);
    const int64_t offset = at.state_row(row(p));
    fill(p.outputs, Back::padded_outputs(s) * rows, T(0));
    to_panel(t.dhn == nullptr ? nullptr : t.dhn + offset, s.hidden, p.rows_used, s.hidden, p.outputs, rows);
    to_panel(t.dcn == nullptr ? nullptr : t.dcn + offset, s.hidden, p.rows_used, s.hidden, p.dcarried, rows);
    if (s.attention.is_there()) p.attention.start(s, t, at.model, number, fed(p));
  }

  // The carried state before a step; rows whose first step it is, in their direction, begin at the initial state.
  void load_before(Panel& p, int64_t step) const {
    const T* states = initial();
    if (states != nullptr) states += at.state_row(row(p));
    if (at.first(step)) return to_panel(states, s.hidden, p.rows_used, s.hidden, p.before, rows);
    const int64_t before = at.before(step);
    to_panel(carried() + at.y_row(before, row(p)), at.y_step(), p.rows_used, s.hidden, p.before, rows);
    if (t.lengths == nullptr || !at.backwards()) return;
    for (int64_t r = 0; r < p.rows_used; ++r)
      if (before >= length_of(s, t.lengths, at.model, row(p) + r))
        for (int64_t j = 0; j < s.hidden; ++j)
          p.before[j * rows + r] = states == nullptr ? T(0) : states[r * s.hidden + j];
  }

  void take_step(Panel& p, int64_t step, T* entry) {
    const int64_t place = at.y_row(step, row(p));
    load_before(p, step);
    if (t.lengths != nullptr) p.ended = mark_valid<T>(s, t.lengths, at.model, p.number, step, p.valid);
    if (!Cell::carries_h && p.fresh) to_panel(t.saved_cells + place, at.y_step(), p.rows_used, s.hidden, p.after, rows);
    to_panel(t.dy == nullptr ? nullptr : t.dy + place, at.y_step(), p.rows_used, s.hidden, p.dy, rows);
    if (t.dcells != nullptr) to_panel(t.dcells + place, at.y_step(), p.rows_used, s.hidden, p.dcells, rows);
    if (s.attention.is_there()) p.attention.before_cell(step, p.dy, fed(p), ended_rows(p));
    if (t.lengths == nullptr && p.rows_used == rows && !s.bfloat16)
      take_units<true>(p, step, entry);
    else
      take_units<false>(p, step, entry);
    p.fresh = false;
    T* const after = p.after;
    p.after = p.before;
    p.before = after;
  }

  // The loop walks backwards through memory, which hardware prefetchers miss: what the next step reads is prefetched
  // unit by unit on the way.  All inline: GCC drops calls of functions that do nothing but prefetch.
  struct Ahead {
    static constexpr int64_t line = 64 / int64_t{sizeof(T)};
    const T *saved, *dy, *carried, *h, *x;  // null where there is nothing to read, h also where it is what is carried
    const int64_t unit_numbers, rows_used, row_step, hidden, x_numbers;

    Ahead(const SequenceBackward& b, const Panel& p, int64_t step)
        : saved(nullptr),
          dy(nullptr),
          carried(nullptr),
          h(nullptr),
          x(nullptr),
          unit_numbers(sequence_sums * p.rows_used),
          rows_used(p.rows_used),
          row_step(b.at.y_step()),
          hidden(b.s.hidden),
          x_numbers(p.rows_used * b.s.x_columns) {
      if (b.at.first(step)) return;
      const int64_t next = b.at.before(step), place = b.at.y_row(next, b.row(p));
      saved = b.t.saved_gates + b.at.gates_at(next, p.number, rows_used);
      if (b.t.dy != nullptr) dy = b.t.dy + place;
      if (x_numbers > 0) x = b.t.x + b.at.x_row(next, b.row(p));
      if (b.at.first(next)) return;
      const int64_t before = b.at.y_row(b.at.before(next), b.row(p));
      carried = b.carried() + before;
      if (!Cell::carries_h) h = b.t.saved_y + before;  // of the weight gradients, as x
    }

    MK_INLINE void ask(int64_t unit) const {
      if (saved == nullptr) return;
      for (int64_t k = 0; k < unit_numbers; k += line) prefetch(saved + unit * unit_numbers + k);
      if (x != nullptr)
        for (int64_t k = unit * line; k < x_numbers; k += hidden * line) prefetch(x + k);
      if (unit % line != 0) return;
      ask_rows(dy, unit);
      ask_rows(carried, unit);
      ask_rows(h, unit);
    }
    MK_INLINE void ask_rows(const T* place, int64_t unit) const {
      if (place == nullptr) return;
      for (int64_t r = 0; r < rows_used; ++r) prefetch(place + r * row_step + unit);
    }
    static MK_INLINE void prefetch(const T* p) { __builtin_prefetch(p, 0, 2); }
  };

  template <bool plain>
  void take_units(Panel& p, int64_t step, T* entry) {
    const int64_t used = p.rows_used, slot_step = s.hidden * rows;
    const bool masked = !plain && t.lengths != nullptr, round = !plain && s.bfloat16, cells = t.dcells != nullptr;
    const T* saved = t.saved_gates + at.gates_at(step, p.number, used);
    const V zero = splat<V>(0);
    const Ahead ahead(*this, p, step);
    for (int64_t unit = 0; unit < s.hidden; ++unit, saved += sequence_sums * used) {
      const int64_t place = unit * rows;
      ahead.ask(unit);
      for (int column = 0; column < int{sum_columns}; column += width) {
        V bias[4];
        MK_UNROLL_ALL
        for (int r = column; r < rows; r += int{sum_columns}) {
          V kept[4], dsums[4];
          for (int slot = 0; slot < 4; ++slot) {
            if constexpr (plain)
              kept[slot] = V::load(saved + slot * rows + r);
            else
              kept[slot] = load_part<V>(saved + slot * used + r, used - r);
          }
          const V dh = V::load(p.outputs + place + r), dcarried = V::load(p.dcarried + place + r);
          V dc = dcarried;
          if (cells) dc = dc + V::load(p.dcells + place + r);
          auto next = Cell::backward(kept, V::load(p.before + place + r), V::load(p.after + place + r),
                                     dh + V::load(p.dy + place + r), dc, dsums);
          V direct = Cell::carries_h ? next.carried : zero;
          if (masked) {
            const auto valid = load_mask<V>(p.valid + r);
            for (int slot = 0; slot < 4; ++slot) dsums[slot] = select(valid, dsums[slot], zero);
            direct = select(valid, direct, zero);
            dh.store(p.dy + place + r);  // for keep_ended
            next.carried = select(valid, next.carried, dcarried);
          }
          direct.store(p.outputs + place + r);
          if (!Cell::carries_h) next.carried.store(p.dcarried + place + r);
          for (int slot = 0; slot < 4; ++slot) {
            bias[slot] = r == column ? dsums[slot] : bias[slot] + dsums[slot];
            const V dsum = round ? bfloat16_rounded(dsums[slot]) : dsums[slot];
            dsum.store(entry + slot * slot_step + place + r);
          }
        }
        gradients.add_bias(unit, column, bias);
      }
    }
  }

  // Rows that have ended keep the gradient of h, and have none of x: 0 times a weight is not 0 for every weight.
  void keep_ended(Panel& p) const {
    T* const dx = p.outputs + Back::input_output(s) * rows;
    const int64_t h_numbers = s.hidden * rows, x_numbers = t.dx == nullptr ? 0 : s.x_columns * rows;
    for (int r = 0; r < rows; r += width) {
      const auto valid = load_mask<V>(p.valid + r);
      for (int64_t place = r; place < h_numbers; place += rows)
        select(valid, V::load(p.outputs + place), V::load(p.dy + place)).store(p.outputs + place);
      for (int64_t place = r; place < x_numbers; place += rows)
        select(valid, V::load(dx + place), splat<V>(0)).store(dx + place);
    }
  }

  void write_dx(Panel& p, int64_t step, bool taken) const {
    if (t.dx == nullptr) {
      if (taken && s.fed > 0) fill(p.outputs + Back::input_output(s) * rows, s.x_columns * rows, T(0));
      return;
    }
    T* out = t.dx + at.x_row(step, row(p));
    const bool add = at.direction > 0;  // the same item has written the other direction's
    T* in = p.outputs + Back::input_output(s) * rows;
    if (!taken) {
      if (!add)
        for (int64_t r = 0; r < p.rows_used; ++r) fill(out + r * s.x_inputs, s.x_inputs, T(0));
      return;
    }
    if (add)
      from_panel<true>(in, rows, p.rows_used, s.x_inputs, out, s.x_inputs);
    else
      from_panel(in, rows, p.rows_used, s.x_inputs, out, s.x_inputs);
    fill(in, s.x_inputs * rows, T(0));
  }

  void finish(Panel& p) const {
    const int64_t offset = at.state_row(row(p));
    if (s.attention.is_there()) p.attention.finish(fed(p));
    if (t.dh0 != nullptr) from_panel(p.outputs, rows, p.rows_used, s.hidden, t.dh0 + offset, s.hidden);
    if (t.dc0 != nullptr) from_panel(p.dcarried, rows, p.rows_used, s.hidden, t.dc0 + offset, s.hidden);
  }
};

}  // namespace mk::MK_ISA
