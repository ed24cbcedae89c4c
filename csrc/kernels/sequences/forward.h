// A sequence forward: an item takes a block of rows of one direction through all its steps.
#pragma once
#include "kernels/attention/decoder.h"
#include "kernels/sequences/layout.h"

namespace mk::MK_ISA {

template <class Cell, class T, int rows>
struct SequenceForward {
  using V = Pack<T>;
  using Z = Sums<Cell, T, rows>;
  static constexpr int width = Number<V>::width;

  // A panel on its way through the steps.
  struct Panel {
    int64_t number, rows_used, longest;
    T *x_h, *x_h_next;   // [columns + hidden][rows]: x of the step, h before it
    T* factors;          // x_h as products of bfloat16 read it
    T* carried;          // [hidden][rows]: the state of the cell besides
    RowMask<T>* valid;   // [rows]: which rows have not ended at the step
    int32_t* token_ids;  // [rows]: of the step
    int64_t* far;        // [rows]: the same where ids are too large for token_ids
    DecoderForward<T, rows> attention;

    void take(const SequenceShape& s, Arena& m) {
      x_h = m.take<T>((s.columns + s.hidden) * rows);
      x_h_next = m.take<T>((s.columns + s.hidden) * rows);
      carried = m.take<T>(s.hidden * rows);
      far = m.take<int64_t>(rows);
      valid = m.take<RowMask<T>>(rows);
      token_ids = m.take<int32_t>(rows);
      factors = m.take<T>(s.bfloat16 ? (s.depth_x + s.depth_h) * rows : 0);
      if (s.attention.is_there()) attention.take(s, m);
    }
  };
  // Of a thread.
  struct Scratch {
    T* sums;  // [slot][tile][rows]
    Panel panels[most_block_panels];
    int64_t bytes;
    Scratch(const SequenceShape& s, void* memory) {
      Arena m(memory);
      sums = m.take<T>(sequence_sums * s.tile * rows);
      for (int64_t p = 0; p < s.block_panels; ++p) panels[p].take(s, m);
      bytes = m.used();
    }
  };

  static int64_t scratch(const SequenceShape& s) { return Scratch(s, nullptr).bytes; }

  const SequenceShape& s;
  const SequenceTensors<T>& t;
  const Direction<Cell, T> at;
  const T *packed, *biases;
  Product<T>* const product_of_part;
  T* const sums;

  SequenceForward(const SequenceShape& shape, const SequenceTensors<T>& tensors, int64_t index, T* sums_memory)
      : s(shape),
        t(tensors),
        at(shape, tensors, index / shape.directions, index % shape.directions),
        packed(tensors.packed + index * packed_forward_numbers<Cell>(shape)),
        biases(packed + shape.tiles * shape.tile * Cell::gates * (shape.depth_x + shape.depth_h)),
        product_of_part(Products<T, rows>::of(static_cast<int>(Z::gates * shape.tile), shape.pairs)),
        sums(sums_memory) {}

  static void run(const SequenceShape& s, const SequenceTensors<T>& t, int64_t item, void* scratch_memory) {
    Scratch memory(s, scratch_memory);
    SequenceForward f(s, t, item / s.blocks, memory.sums);
    Panel* const panels = memory.panels;
    const int64_t first = item % s.blocks * s.block_panels, count = smaller(s.block_panels, s.panels - first);
    for (int64_t p = 0; p < count; ++p) f.start(panels[p], first + p);
    for (int64_t k = 0; k < s.steps; ++k) {
      const int64_t step = f.at.step(k);
      for (int64_t p = 0; p < count; ++p)
        if (step < panels[p].longest) f.load_step(panels[p], step);
      for (int64_t tile = 0; tile < s.tiles; ++tile)
        for (int64_t p = 0; p < count; ++p)
          if (step < panels[p].longest) f.take_tile(panels[p], step, tile);
      for (int64_t p = 0; p < count; ++p) f.end_step(panels[p], step);
    }
    for (int64_t p = 0; p < count; ++p) f.finish(panels[p]);
  }

  int64_t row(const Panel& p) const { return p.number * rows; }
  T* h_before(const Panel& p) const { return p.x_h + s.columns * rows; }
  T* h_after(const Panel& p) const { return p.x_h_next + s.columns * rows; }
  T* fed(T* x_h) const { return x_h + s.x_columns * rows; }
  const T* x_factors(const Panel& p) const { return s.bfloat16 ? p.factors : p.x_h; }
  const T* h_factors(const Panel& p) const { return x_factors(p) + depth_rows(s, s.depth_x) * rows; }

  void start(Panel& p, int64_t number) const {
    p.number = number;
    p.rows_used = rows_of(s, number);
    p.longest = longest_of(s, t.lengths, at.model, number);
    const int64_t offset = at.state_row(row(p));
    const T* carried = Cell::carries_h ? t.h0 : t.c0;
    to_panel(t.h0 == nullptr ? nullptr : t.h0 + offset, s.hidden, p.rows_used, s.hidden, h_before(p), rows);
    to_panel(carried == nullptr ? nullptr : carried + offset, s.hidden, p.rows_used, s.hidden, p.carried, rows);
    if (s.attention.is_there()) p.attention.start(s, t, at.model, number, fed(p.x_h));
  }

  void load_step(Panel& p, int64_t step) const {
    if (t.lengths != nullptr) mark_valid<T>(s, t.lengths, at.model, p.number, step, p.valid);
    if (s.token_ids)
      for (int64_t r = 0; r < rows; ++r) {  // beyond a row's length there need not be a token id
        const bool is_there = r < p.rows_used && (t.lengths == nullptr || p.valid[r] != 0);
        p.far[r] = is_there ? t.token_ids[at.token_row(step, row(p) + r)] : 0;
        p.token_ids[r] = static_cast<int32_t>(p.far[r]);
      }
    if (s.x_columns > 0) to_panel(t.x + at.x_row(step, row(p)), s.x_inputs, p.rows_used, s.x_inputs, p.x_h, rows);
    if (s.attention.is_there()) p.attention.before_step(step, h_before(p), fed(p.x_h), ended_rows(p));
    if (!s.bfloat16) return;
    to_pairs(s.pairs, s.columns, rows, p.x_h, p.factors);
    to_pairs(s.pairs, s.hidden, rows, h_before(p), p.factors + depth_rows(s, s.depth_x) * rows);
  }

  const RowMask<T>* ended_rows(const Panel& p) const { return t.lengths == nullptr ? nullptr : p.valid; }

  // The sums' start where products do not begin with x: the bias, and with token ids the weights of the row's token.
  void start_sums(const Panel& p, int64_t tile, int first_slot, int end_slot) {
    const T* bias = biases + tile * sequence_sums * s.tile;
    for (int64_t slot = first_slot; slot < end_slot; ++slot)
      for (int64_t j = 0; j < s.tile; ++j) {
        T* out = sums + (slot * s.tile + j) * rows;
        const int64_t unit = tile * s.tile + j, gate = Cell::input_sums[slot];
        const bool gathered = s.token_ids && gate >= 0 && unit < s.hidden;
        const T* weights = gathered ? at.weight_ih() + (gate * s.hidden + unit) * s.inputs : nullptr;
        for (int r = 0; r < rows; r += width) {
          V sum = splat<V>(bias[slot * s.tile + j]);
          if (gathered) {
            V w = s.inputs <= INT32_MAX ? gather<V>(weights, s.inputs, p.token_ids + r) : gather<V>(weights, p.far + r);
            sum = sum + (s.bfloat16 ? bfloat16_rounded(w) : w);
          }
          sum.store(out + r);
        }
      }
  }

  void make_sums(const Panel& p, int64_t tile) {
    const int64_t depth = s.depth_x + s.depth_h, outputs = Z::gates * s.tile;
    const int64_t x_rows = depth_rows(s, s.depth_x), h_rows = depth_rows(s, s.depth_h);
    const T* weights = packed + tile * Z::parts * depth * outputs;
    const T* bias = biases + tile * sequence_sums * s.tile;
    const bool starts = s.columns > 0 && !s.token_ids;    // a product's chain, with the bias
    const bool together = Z::first_input == 0 && starts;  // of x and h
    if (!together) start_sums(p, tile, 0, starts ? Z::first_input : int{sequence_sums});
    const FlushedDenormals scope(s.bfloat16);
    if (together) {
      for (int part = 0; part < Z::parts; ++part)
        product_of_part(x_rows + h_rows, weights + part * depth * outputs, x_factors(p), bias + part * outputs,
                        sums + part * outputs * rows);
      return;
    }
    for (int part = 0; part < Z::parts; ++part) {
      const T* a = weights + part * depth * outputs;
      const int64_t slot = Z::first_input * s.tile + part * outputs;
      if (s.columns > 0) product_of_part(x_rows, a, x_factors(p), starts ? bias + slot : nullptr, sums + slot * rows);
    }
    for (int part = 0; part < Z::parts; ++part) {
      const T* a = weights + part * depth * outputs + x_rows * outputs;
      product_of_part(h_rows, a, h_factors(p), nullptr, sums + part * outputs * rows);
    }
  }

  void take_tile(Panel& p, int64_t step, int64_t tile) {
    make_sums(p, tile);
    // nothing to look at per row, the usual case, is a loop of its own
    if (t.lengths == nullptr && p.rows_used == rows)
      take_units<true>(p, step, tile);
    else
      take_units<false>(p, step, tile);
  }

  template <bool plain>
  void take_units(Panel& p, int64_t step, int64_t tile) const {
    const int64_t units = smaller(s.tile, s.hidden - tile * s.tile), first = tile * s.tile, slot_step = s.tile * rows;
    const int64_t used = p.rows_used;
    const bool save = t.gates != nullptr, masked = !plain && t.lengths != nullptr;
    T* saved = save ? t.gates + at.gates_at(step, p.number, used) + first * sequence_sums * used : nullptr;
    T *carried_place = p.carried + first * rows, *h_place = h_after(p) + first * rows;
    const T *h_old = h_before(p) + first * rows, *sum = sums;
    for (int64_t j = 0; j < units; ++j) {
      for (int r = 0; r < rows; r += width) {
        V z[4], kept[4];
        for (int slot = 0; slot < 4; ++slot) z[slot] = V::load(sum + slot * slot_step + r);
        const V carried = V::load(carried_place + r);
        auto next = Cell::forward(z, carried, kept);
        if (save)
          for (int slot = 0; slot < 4; ++slot) {
            if constexpr (plain)
              kept[slot].store(saved + slot * rows + r);
            else
              store_part(kept[slot], saved + slot * used + r, used - r);
          }
        if (masked) {
          const auto valid = load_mask<V>(p.valid + r);
          next.carried = select(valid, next.carried, carried);
          next.h = select(valid, next.h, V::load(h_old + r));
        }
        next.carried.store(carried_place + r);
        next.h.store(h_place + r);
      }
      carried_place += rows, h_place += rows, h_old += rows, sum += rows;
      if (save) saved += sequence_sums * used;
    }
  }

  // Writes y and cells; rows that have ended get zeros.
  void end_step(Panel& p, int64_t step) const {
    const bool any = step < p.longest;
    for (int which = 0; which < 2; ++which) {
      T* out = which == 0 ? t.y : t.cells;
      if (out == nullptr) continue;
      out += at.y_row(step, row(p));
      const T* in = which == 0 ? h_after(p) : p.carried;
      if (any) from_panel(in, rows, p.rows_used, s.hidden, out, at.y_step());
      if (t.lengths != nullptr)
        for (int64_t r = 0; r < p.rows_used; ++r)
          if (!any || p.valid[r] == 0) fill(out + r * at.y_step(), s.hidden, T(0));
    }
    if (s.attention.is_there())
      p.attention.after_step(step, any ? h_after(p) : nullptr, fed(p.x_h), fed(p.x_h_next), ended_rows(p));
    if (!any) return;
    T* used = p.x_h;
    p.x_h = p.x_h_next;
    p.x_h_next = used;
  }

  void finish(const Panel& p) const {
    const int64_t offset = at.state_row(row(p));
    if (s.attention.is_there()) p.attention.finish(fed(p.x_h));
    if (t.hn != nullptr) from_panel(h_before(p), rows, p.rows_used, s.hidden, t.hn + offset, s.hidden);
    if (t.cn != nullptr) from_panel(p.carried, rows, p.rows_used, s.hidden, t.cn + offset, s.hidden);
  }
};

}  // namespace mk::MK_ISA
