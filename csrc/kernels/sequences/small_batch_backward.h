// A sequence of a small batch backward: a team takes it back through its steps, each member its own tiles of units.
#pragma once
#include "kernels/sequences/small_batch.h"
#include "kernels/sequences/token_ids.h"

namespace mk::MK_ISA {

// out[u][column] += sum over rows of a[row][u] b[row][column] for U u and P packs of columns, of which `left` columns
// are there.
template <class T>
using SmallBatchGradient = void(int64_t rows, const T* a, int64_t a_step, const T* b, T* out, int64_t out_step,
                                int64_t left);

template <class T, int U, int P>
MK_NOINLINE void small_batch_gradient(int64_t rows, const T* a, int64_t a_step, const T* b, T* out, int64_t out_step,
                                      int64_t left) {
  using V = Pack<T>;
  constexpr int width = Number<V>::width;
  RegisterBlock<T, U, P> block;
  block.start([](int) { return T(0); });
  block.add_product(
      rows, [=](int u, int64_t row) { return a[row * a_step + u]; },
      [=](int p, int64_t row) { return b + row * (P * width) + p * width; });
  MK_UNROLL_ALL
  for (int u = 0; u < U; ++u) {
    MK_UNROLL_ALL
    for (int p = 0; p < P; ++p) {
      T* const place = out + u * out_step + p * width;
      const int64_t here = left - p * width;
      if (here > 0) store_part(load_part<V>(place, here) + block.sums[u][p], place, here);
    }
  }
}

template <class Cell, class T>
struct SmallBatchBackward {
  using V = Pack<T>;
  using Products = SmallBatchProducts<T>;
  static constexpr int width = Number<V>::width;
  static constexpr int gates = Cell::gates;
  static constexpr int first_input = Cell::input_sums[0] < 0 ? 1 : 0;
  static constexpr int gradient_units = 4, gradient_packs = many_registers ? 4 : 2;

  static int64_t padded(const SequenceShape& s) { return s.unit_tiles * small_tile; }
  // One more tile, so that the rows of many steps do not all meet in the same lines of the cache.
  static int64_t entry_numbers(const SequenceShape& s) { return rounded_up(sequence_sums * s.hidden, 16) + small_tile; }
  static int64_t factor_numbers(const SequenceShape& s) { return sequence_sums * s.depth_h; }
  static int64_t most_entries(const SequenceShape& s) { return s.entry_steps * s.batch; }

  // Of the team.
  struct Shared {
    T *dh, *dcarried;  // [row][unit]: before the step that was taken last
    T* entries;        // the gradients of the sums of some steps' rows: [slot][unit], rounded as products read them
    T* packed_h;
    int64_t bytes;
    Shared(const SequenceShape& s, void* memory) {
      Arena m(memory);
      dh = m.take<T>(s.batch * padded(s));
      dcarried = m.take<T>(s.batch * padded(s));
      entries = m.take<T>(most_entries(s) * entry_numbers(s));
      packed_h = s.packs_h ? m.take<T>(padded(s) * gates * s.depth_h) : nullptr;
      bytes = m.used();
    }
  };
  // Of a member.
  struct Own {
    T *biases, *lost;    // [slot][unit]: sums, and what their rounding took away
    T* space;            // of weights laid out on the way
    T* columns;          // of what the gradients of weights are made with, and of dx
    T* factors;          // entries as products of bfloat16 read them
    int64_t* token_ids;  // of the entries
    int64_t bytes;
    Own(const SequenceShape& s, void* memory) {
      Arena m(memory);
      biases = m.take<T>(sequence_sums * padded(s));
      lost = m.take<T>(sequence_sums * padded(s));
      space = m.take<T>(small_streams * small_depth * small_tile);
      columns = m.take<T>(most_entries(s) * small_streams * small_tile);
      factors = m.take<T>(s.bfloat16 ? most_entries(s) * factor_numbers(s) : 0);
      token_ids = m.take<int64_t>(s.token_ids ? TokenPlaces::words(most_entries(s)) : 0);
      bytes = m.used();
    }
  };
  struct Entry {
    int64_t step, row;
  };

  const SequenceShape& s;
  const SequenceTensors<T>& t;
  const Direction<Cell, T> at;
  const SequenceMember& member;
  const Shared shared;
  const Own own;
  const SmallBatchShare tiles, input_tiles;
  const int64_t begin, end;  // units
  const SmallBackwardMatrix<T> h_weights, x_weights;
  Entry places[most_small_batch];
  int64_t count;

  SmallBatchBackward(const SequenceShape& shape, const SequenceTensors<T>& tensors, int64_t model, int64_t direction,
                     const SequenceMember& of)
      : s(shape),
        t(tensors),
        at(shape, tensors, model, direction),
        member(of),
        shared(shape, of.shared),
        own(shape, of.own),
        tiles(shape.unit_tiles, of.number, of.members),
        input_tiles(t.dx == nullptr ? 0 : (shape.columns + small_tile - 1) / small_tile, of.number, of.members),
        begin(smaller(tiles.first * small_tile, shape.hidden)),
        end(smaller(tiles.end * small_tile, shape.hidden)),
        h_weights{{shape, at.weight_hh(), Cell::recurrent_sums, shape.hidden, gates * shape.depth_h, shared.packed_h}},
        x_weights{
            {shape, at.weight_ih(), Cell::input_sums + first_input, shape.inputs, gates * shape.depth_h, nullptr}},
        count(0) {}

  static void run(const SequenceShape& s, const SequenceTensors<T>& t, const SequenceMember& member) {
    for (int64_t k = 0; k < s.item_directions; ++k) {
      const int64_t sequence = member.sequence * s.item_directions + k;
      SmallBatchBackward b(s, t, sequence / s.directions, sequence % s.directions, member);
      b.start();
      for (int64_t step = s.steps - 1; step >= 0; --step) b.take_step(b.at.step(step));
      b.flush();
      b.finish();
      b.wait();  // before the next sequence takes the memory
    }
  }

  void wait() const { member.wait(member.barrier, member.members); }
  bool valid(int64_t row, int64_t step) const {
    return t.lengths == nullptr || step < t.lengths[at.model * s.batch + row];
  }
  T* entry(int64_t n) const { return shared.entries + n * entry_numbers(s); }

  void start() const {
    SmallBatchMatrix<T>::pack(h_weights, tiles.first, tiles.end);
    for (int64_t row = 0; row < s.batch; ++row)
      for (int64_t unit = tiles.first * small_tile; unit < tiles.end * small_tile; ++unit) {
        const int64_t place = row * padded(s) + unit, from = at.state_row(row) + unit;
        shared.dh[place] = t.dhn == nullptr || unit >= s.hidden ? T(0) : t.dhn[from];
        shared.dcarried[place] = t.dcn == nullptr || unit >= s.hidden ? T(0) : t.dcn[from];
      }
    fill(own.biases, sequence_sums * padded(s), T(0));
    fill(own.lost, sequence_sums * padded(s), T(0));
    for (int slot = 0; slot < sequence_sums; ++slot) {
      if (t.dweight_hh != nullptr && Cell::recurrent_sums[slot] >= 0)
        fill(weight_rows(t.dweight_hh, Cell::recurrent_sums[slot], begin, s.hidden), (end - begin) * s.hidden, T(0));
      if (t.dweight_ih != nullptr && Cell::input_sums[slot] >= 0)
        fill(weight_rows(t.dweight_ih, Cell::input_sums[slot], begin, s.inputs), (end - begin) * s.inputs, T(0));
    }
  }
  T* weight_rows(T* weights, int64_t gate, int64_t unit, int64_t wide) const {
    return weights + ((at.index * gates + gate) * s.hidden + unit) * wide;
  }

  // What h or c was before a step, null for zeros.
  const T* before(const T* states, const T* initial, int64_t step, int64_t row) const {
    if (at.first(step) || !valid(row, at.before(step)))
      return initial == nullptr ? nullptr : initial + at.state_row(row);
    return states + at.y_row(at.before(step), row);
  }
  const T* h_before(int64_t step, int64_t row) const { return before(t.saved_y, t.h0, step, row); }

  void take_step(int64_t step) {
    const T* values[most_small_batch];
    T* out[most_small_batch];
    int64_t taken = 0;
    for (int64_t row = 0; row < s.batch; ++row)
      if (valid(row, step)) {
        take_units(step, row, entry(count));
        out[taken++] = shared.dh + row * padded(s);
        places[count++] = {step, row};
      } else {
        skip(step, row);
      }
    wait();
    for (int64_t n = 0; n < taken; ++n) values[n] = read_entry(count - taken + n);
    Products::add(h_weights, tiles.first, 1, tiles.end - tiles.first, taken, values, out, tiles.first * small_tile,
                  small_tile, own.space);
    if (count + s.batch <= most_entries(s)) return;
    flush();
    wait();
  }

  // The n-th entry as the products read it, once all members have written it.
  const T* read_entry(int64_t n) const {
    if (!s.bfloat16) return entry(n);
    for (int64_t slot = 0; slot < sequence_sums; ++slot)
      to_pairs(false, s.hidden, 1, entry(n) + slot * s.hidden, own.factors + n * factor_numbers(s) + slot * s.depth_h);
    return factors(n);
  }
  const T* factors(int64_t n) const { return s.bfloat16 ? own.factors + n * factor_numbers(s) : entry(n); }

  // No input of a step that is not there has a gradient.
  void skip(int64_t step, int64_t row) const {
    if (t.dx == nullptr || at.direction > 0) return;  // the first direction has written it
    const int64_t first = smaller(input_tiles.first * small_tile, s.inputs);
    fill(t.dx + at.x_row(step, row) + first, smaller(input_tiles.end * small_tile, s.inputs) - first, T(0));
  }

  void take_units(int64_t step, int64_t row, T* sums) const {
    const T* const saved = t.saved_gates + at.small_batch_gates_at(step, row);
    const T* const carried = Cell::carries_h ? h_before(step, row) : before(t.saved_cells, t.c0, step, row);
    const int64_t y = at.y_row(step, row), state = row * padded(s);
    const V zero = splat<V>(0);
    for (int64_t unit = begin; unit < end; unit += width) {
      const int64_t left = s.hidden - unit;
      const auto read = [&](const T* from) { return from == nullptr ? zero : load_part<V>(from + unit, left); };
      V kept[4], dsums[4];
      for (int slot = 0; slot < 4; ++slot) kept[slot] = read(saved + slot * s.hidden);
      const V after = Cell::carries_h ? zero : read(t.saved_cells + y);
      const V dh = V::load(shared.dh + state + unit) + read(t.dy == nullptr ? nullptr : t.dy + y);
      V dc = V::load(shared.dcarried + state + unit);
      if (t.dcells != nullptr) dc = dc + read(t.dcells + y);
      const auto next = Cell::backward(kept, read(carried), after, dh, dc, dsums);
      (Cell::carries_h ? next.carried : zero).store(shared.dh + state + unit);
      if (!Cell::carries_h) next.carried.store(shared.dcarried + state + unit);
      for (int slot = 0; slot < 4; ++slot) {
        const int64_t bias = slot * padded(s) + unit;
        add_exactly(dsums[slot], own.biases + bias, own.lost + bias);
        store_part(s.bfloat16 ? bfloat16_rounded(dsums[slot]) : dsums[slot], sums + slot * s.hidden + unit, left);
      }
    }
  }

  // What the entries add to the gradients of inputs and of the weights of own units.
  void flush() {
    if (count > 0) {
      write_dx();
      const auto h = [&](const Entry& e) { return h_before(e.step, e.row); };
      const auto x = [&](const Entry& e) { return t.x + at.x_row(e.step, e.row); };
      if (t.dweight_hh != nullptr) add_weights(t.dweight_hh, s.hidden, Cell::recurrent_sums, h);
      if (t.dweight_ih != nullptr && s.columns > 0) add_weights(t.dweight_ih, s.inputs, Cell::input_sums, x);
      if (t.dweight_ih != nullptr && s.token_ids) add_tokens();
    }
    count = 0;
  }

  void write_dx() const {
    const T* values[most_small_batch];
    T* out[most_small_batch];
    constexpr int64_t row_numbers = small_streams * small_tile;
    for (int64_t n = 0; n < count; ++n) {
      values[n] = factors(n) + first_input * s.depth_h;
      out[n] = own.columns + n * row_numbers;
    }
    for (int64_t tile = input_tiles.first; tile < input_tiles.end; tile += small_streams) {
      const int64_t taken = smaller(small_streams, input_tiles.end - tile), first = tile * small_tile;
      const int64_t wide = smaller(taken * small_tile, s.inputs - first);
      fill(own.columns, count * row_numbers, T(0));
      Products::add(x_weights, tile, 1, taken, count, values, out, 0, small_tile, own.space);
      for (int64_t n = 0; n < count; ++n) {
        T* const dx = t.dx + at.x_row(places[n].step, places[n].row) + first;
        const bool add = at.direction > 0;
        for (int64_t i = 0; i < wide; ++i) dx[i] = add ? dx[i] + out[n][i] : out[n][i];
      }
    }
  }

  // rows_of(entry): `wide` numbers that the entry's sums were made from, null for zeros.
  template <class RowsOf>
  void add_weights(T* gradient, int64_t wide, const int (&gate_of)[4], RowsOf&& rows_of) {
    constexpr int64_t block = gradient_packs * width;
    for (int64_t first = 0; first < wide; first += block) {
      const int64_t left = smaller(block, wide - first);
      for (int64_t n = 0; n < count; ++n) {
        const T* row = rows_of(places[n]);
        T* const copy = own.columns + n * block;
        for (int64_t c = 0; c < block; ++c) copy[c] = row == nullptr || c >= left ? T(0) : row[first + c];
      }
      if (s.bfloat16) round_all(count * block, own.columns);
      for (int slot = 0; slot < sequence_sums; ++slot) {
        if (gate_of[slot] < 0) continue;
        const T* const sums = shared.entries + slot * s.hidden;
        T* const out = weight_rows(gradient, gate_of[slot], 0, wide) + first;
        int64_t unit = begin;
        for (; unit + gradient_units <= end; unit += gradient_units)
          small_batch_gradient<T, gradient_units, gradient_packs>(count, sums + unit, entry_numbers(s), own.columns,
                                                                  out + unit * wide, wide, left);
        for (; unit < end; ++unit)
          small_batch_gradient<T, 1, gradient_packs>(count, sums + unit, entry_numbers(s), own.columns,
                                                     out + unit * wide, wide, left);
      }
    }
  }

  // As over panels, the entries of a token are added up first.
  void add_tokens() const {
    const TokenPlaces token_ids(own.token_ids, most_entries(s));
    int64_t place_of[most_small_batch];
    token_ids.clear();
    for (int64_t n = 0; n < count; ++n)
      place_of[n] = token_ids.place(t.token_ids[at.token_row(places[n].step, places[n].row)]);
    for (int slot = first_input; slot < sequence_sums; ++slot)
      for (int64_t first = begin; first < end; first += small_tile) {
        const int64_t units = smaller(small_tile, end - first);
        fill(own.columns, token_ids.count() * small_tile, T(0));
        for (int64_t n = 0; n < count; ++n) {
          const T* const sums = entry(n) + slot * s.hidden + first;
          T* const sum = own.columns + place_of[n] * small_tile;
          for (int64_t k = 0; k < units; ++k) sum[k] = sum[k] + sums[k];
        }
        T* const out = weight_rows(t.dweight_ih, Cell::input_sums[slot], first, s.inputs);
        for (int64_t place = 0; place < token_ids.count(); ++place)
          for (int64_t k = 0; k < units; ++k) {
            T* const number = out + k * s.inputs + token_ids.token(place);
            *number = *number + own.columns[place * small_tile + k];
          }
      }
  }

  void finish() const {
    for (int64_t row = 0; row < s.batch; ++row)
      for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t place = row * padded(s) + unit, to = at.state_row(row) + unit;
        if (t.dh0 != nullptr) t.dh0[to] = shared.dh[place];
        if (t.dc0 != nullptr) t.dc0[to] = shared.dcarried[place];
      }
    for (int slot = 0; slot < sequence_sums; ++slot)
      for (int64_t unit = begin; unit < end; ++unit) {
        const T sum = with_lost(own.biases[slot * padded(s) + unit], own.lost[slot * padded(s) + unit]);
        const int gate_h = Cell::recurrent_sums[slot], gate_x = Cell::input_sums[slot];
        if (t.dbias_hh != nullptr && gate_h >= 0) *weight_rows(t.dbias_hh, gate_h, unit, 1) = sum;
        if (t.dbias_ih != nullptr && gate_x >= 0) *weight_rows(t.dbias_ih, gate_x, unit, 1) = sum;
      }
  }
};

}  // namespace mk::MK_ISA
