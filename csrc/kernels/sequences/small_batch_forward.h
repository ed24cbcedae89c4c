// A sequence of a small batch forward: a team takes it through its steps, each member its own tiles of units.
#pragma once
#include "kernels/sequences/small_batch.h"

namespace mk::MK_ISA {

template <class Cell, class T>
struct SmallBatchForward {
  using V = Pack<T>;
  using Products = SmallBatchProducts<T>;
  static constexpr int width = Number<V>::width;
  static constexpr int gates = Cell::gates;
  static constexpr int first_input = Cell::input_sums[0] < 0 ? 1 : 0;

  static int64_t padded(const SequenceShape& s) { return s.unit_tiles * small_tile; }

  // Of the team: a row of states is padded(s) numbers, one of sums sequence_sums times that.
  struct Shared {
    T* h[2];     // before the step and after it, by turns
    T* carried;  // the state of the cell besides
    T* sums;     // of the steps whose products with x are made together, [step][row]
    T *packed_h, *packed_x;
    int64_t bytes;
    Shared(const SequenceShape& s, void* memory) {
      Arena m(memory);
      const int64_t states = s.batch * padded(s);
      T** const all[] = {&h[0], &h[1], &carried};
      for (T** state : all) *state = m.take<T>(states);
      sums = m.take<T>(s.input_steps * s.batch * sequence_sums * padded(s));
      packed_h = s.packs_h ? m.take<T>(gates * padded(s) * s.depth_h) : nullptr;
      packed_x = s.packs_x ? m.take<T>(gates * padded(s) * s.depth_x) : nullptr;
      bytes = m.used();
    }
  };
  // Of a member.
  struct Own {
    T* biases;  // [slot][unit]
    T* space;   // of weights laid out on the way
    T *x, *h;   // rows as products of bfloat16 read them
    int64_t bytes;
    Own(const SequenceShape& s, void* memory) {
      Arena m(memory);
      biases = m.take<T>(sequence_sums * padded(s));
      space = m.take<T>(small_streams * small_depth * small_tile);
      x = m.take<T>(s.bfloat16 ? s.input_steps * s.batch * s.depth_x : 0);
      h = m.take<T>(s.bfloat16 ? s.batch * s.depth_h : 0);
      bytes = m.used();
    }
  };

  const SequenceShape& s;
  const SequenceTensors<T>& t;
  const Direction<Cell, T> at;
  const Shared shared;
  const Own own;
  const SmallBatchShare tiles;  // of units
  const SmallForwardMatrix<T> h_weights, x_weights;
  const int64_t row_numbers;  // of sums
  int now;                    // which of h is before the step

  SmallBatchForward(const SequenceShape& shape, const SequenceTensors<T>& tensors, int64_t sequence, int member,
                    int members, void* shared_memory, void* own_memory)
      : s(shape),
        t(tensors),
        at(shape, tensors, sequence / shape.directions, sequence % shape.directions),
        shared(shape, shared_memory),
        own(shape, own_memory),
        tiles(shape.unit_tiles, member, members),
        h_weights{{shape, at.weight_hh(), Cell::recurrent_sums, shape.hidden, shape.depth_h, shared.packed_h}},
        x_weights{
            {shape, at.weight_ih(), Cell::input_sums + first_input, shape.inputs, shape.depth_x, shared.packed_x}},
        row_numbers(sequence_sums * padded(shape)),
        now(0) {}

  static void run(const SequenceShape& s, const SequenceTensors<T>& t, const SequenceMember& member) {
    SmallBatchForward f(s, t, member.sequence, member.number, member.members, member.shared, member.own);
    f.start();
    for (int64_t k = 0; k < s.steps; ++k) {
      if (k % s.input_steps == 0) f.add_inputs(k, smaller(s.input_steps, s.steps - k));
      member.wait(member.barrier, member.members);
      f.take_step(f.at.step(k), k % s.input_steps);
    }
    f.finish();
    member.wait(member.barrier, member.members);  // before the next sequence takes the memory
  }

  bool valid(int64_t row, int64_t step) const {
    return t.lengths == nullptr || step < t.lengths[at.model * s.batch + row];
  }
  T* sums_of(int64_t input_step, int64_t row) const { return shared.sums + (input_step * s.batch + row) * row_numbers; }

  void start() const {
    for (int slot = 0; slot < gates; ++slot) {
      SmallBatchMatrix<T>::pack(h_weights, slot * s.unit_tiles + tiles.first, slot * s.unit_tiles + tiles.end);
      if (s.columns > 0)
        SmallBatchMatrix<T>::pack(x_weights, slot * s.unit_tiles + tiles.first, slot * s.unit_tiles + tiles.end);
    }
    for (int slot = 0; slot < sequence_sums; ++slot)
      for (int64_t unit = tiles.first * small_tile; unit < tiles.end * small_tile; ++unit)
        own.biases[slot * padded(s) + unit] = at.bias(slot, unit);
    for (int64_t row = 0; row < s.batch; ++row) {
      const T* carried = Cell::carries_h ? t.h0 : t.c0;
      for (int64_t unit = tiles.first * small_tile; unit < tiles.end * small_tile; ++unit) {
        const int64_t place = row * padded(s) + unit, from = at.state_row(row) + unit;
        shared.h[0][place] = t.h0 == nullptr || unit >= s.hidden ? T(0) : t.h0[from];
        shared.carried[place] = carried == nullptr || unit >= s.hidden ? T(0) : carried[from];
      }
    }
  }

  // Starts the sums of `steps` steps from the k-th on: bias, then the products with x.
  void add_inputs(int64_t k, int64_t steps) const {
    const T* rows[most_small_batch];
    T* out[most_small_batch];
    int64_t count = 0;
    for (int64_t n = 0; n < steps; ++n)
      for (int64_t row = 0; row < s.batch; ++row) {
        const int64_t step = at.step(k + n);
        if (!valid(row, step)) continue;
        out[count] = sums_of(n, row);
        start_sums(step, row, out[count]);
        if (s.columns > 0) rows[count] = factors(t.x + at.x_row(step, row), s.columns, own.x + count * s.depth_x);
        ++count;
      }
    if (s.columns == 0) return;
    for (int64_t tile = tiles.first; tile < tiles.end; ++tile)
      Products::add(x_weights, tile, s.unit_tiles, gates, count, rows, out, first_input * padded(s) + tile * small_tile,
                    padded(s), own.space);
  }
  // A row as the products read it, in `memory` where that is not how it is.
  const T* factors(const T* row, int64_t count, T* memory) const {
    if (!s.bfloat16) return row;
    to_pairs(false, count, 1, row, memory);
    return memory;
  }
  void start_sums(int64_t step, int64_t row, T* sums) const {
    const int64_t begin = tiles.first * small_tile, end = tiles.end * small_tile;
    for (int slot = 0; slot < sequence_sums; ++slot) {
      const T* bias = own.biases + slot * padded(s);
      T* const out = sums + slot * padded(s);
      const int gate = Cell::input_sums[slot];
      for (int64_t unit = begin; unit < end; ++unit) out[unit] = bias[unit];
      if (!s.token_ids || gate < 0) continue;
      const T* weights = at.weight_ih() + gate * s.hidden * s.inputs + t.token_ids[at.token_row(step, row)];
      for (int64_t unit = begin; unit < smaller(end, s.hidden); ++unit) {
        const T weight = weights[unit * s.inputs];
        out[unit] = out[unit] + (s.bfloat16 ? bfloat16_rounded(weight) : weight);
      }
    }
  }

  void take_step(int64_t step, int64_t input_step) {
    const T* rows[most_small_batch];
    T* out[most_small_batch];
    int64_t places[most_small_batch], count = 0;
    for (int64_t row = 0; row < s.batch; ++row)
      if (valid(row, step)) {
        rows[count] = factors(shared.h[now] + row * padded(s), s.hidden, own.h + count * s.depth_h);
        out[count] = sums_of(input_step, row);
        places[count++] = row;
      } else {
        skip(row, step);
      }
    for (int64_t tile = tiles.first; tile < tiles.end; ++tile) {
      Products::add(h_weights, tile, s.unit_tiles, gates, count, rows, out, tile * small_tile, padded(s), own.space);
      for (int64_t n = 0; n < count; ++n) take_units(places[n], step, tile, out[n]);
    }
    now = 1 - now;
  }

  void take_units(int64_t row, int64_t step, int64_t tile, const T* sums) const {
    T* const saved = t.gates == nullptr ? nullptr : t.gates + at.small_batch_gates_at(step, row);
    const int64_t y = at.y_row(step, row), state = row * padded(s);
    for (int64_t unit = tile * small_tile; unit < smaller((tile + 1) * small_tile, s.hidden); unit += width) {
      const int64_t left = s.hidden - unit;
      V z[4], kept[4];
      for (int slot = 0; slot < 4; ++slot) z[slot] = V::load(sums + slot * padded(s) + unit);
      const auto next = Cell::forward(z, V::load(shared.carried + state + unit), kept);
      if (saved != nullptr)
        for (int slot = 0; slot < 4; ++slot) store_part(kept[slot], saved + slot * s.hidden + unit, left);
      next.carried.store(shared.carried + state + unit);
      next.h.store(shared.h[1 - now] + state + unit);
      if (t.y != nullptr) store_part(next.h, t.y + y + unit, left);
      if (t.cells != nullptr) store_part(next.carried, t.cells + y + unit, left);
    }
  }

  // A row that has ended, or does not yet begin, keeps its state.
  void skip(int64_t row, int64_t step) const {
    const int64_t begin = tiles.first * small_tile, end = smaller(tiles.end * small_tile, s.hidden);
    if (begin >= end) return;
    for (int64_t unit = begin; unit < end; ++unit)
      shared.h[1 - now][row * padded(s) + unit] = shared.h[now][row * padded(s) + unit];
    if (t.gates != nullptr)
      for (int slot = 0; slot < sequence_sums; ++slot)
        fill(t.gates + at.small_batch_gates_at(step, row) + slot * s.hidden + begin, end - begin, T(0));
    T* const outputs[] = {t.y, t.cells};
    for (T* out : outputs)
      if (out != nullptr) fill(out + at.y_row(step, row) + begin, end - begin, T(0));
  }

  void finish() const {
    for (int64_t row = 0; row < s.batch; ++row)
      for (int64_t unit = tiles.first * small_tile; unit < smaller(tiles.end * small_tile, s.hidden); ++unit) {
        const int64_t place = row * padded(s) + unit, to = at.state_row(row) + unit;
        if (t.hn != nullptr) t.hn[to] = shared.h[now][place];
        if (t.cn != nullptr) t.cn[to] = shared.carried[place];
      }
  }
};

}  // namespace mk::MK_ISA
