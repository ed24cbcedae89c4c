// The products of backward: gradients of h and x from those of the sums, and weight gradients.
#pragma once
#include "kernels/attention/shape.h"
#include "kernels/sequences/layout.h"
#include "kernels/sequences/token_ids.h"

namespace mk::MK_ISA {

// The gradients of h before the step and of x, through the weights.  In an LSTM every sum has products with both, so
// they are the outputs of one product; in a GRU each has its own range of sums.
template <class Cell, class T, int rows>
struct BackwardProducts {
  static constexpr bool together = Cell::gates == 4;
  static constexpr int64_t padding = 24;  // a register block has at most so many outputs

  static int64_t padded_outputs(const SequenceShape& s) { return s.hidden + s.columns + 2 * padding; }
  static int64_t input_output(const SequenceShape& s) { return s.hidden + (together ? 0 : padding); }
  static int64_t depth(const SequenceShape& s) { return Cell::gates * s.depth_h; }  // [slot][unit]
  // Of what the products read of a panel's entry.
  static int64_t factor_numbers(const SequenceShape& s) { return s.bfloat16 ? sequence_sums * s.depth_h * rows : 0; }
  static int64_t packed_numbers(const SequenceShape& s) {
    return rounded_up((s.hidden + s.columns + 2 * padding) * depth(s), 16);
  }

  // Whether gradients of x, or of what was fed with it, are among the outputs.
  static bool takes_inputs(const SequenceShape& s, const SequenceTensors<T>& t) { return t.dx != nullptr || s.fed > 0; }

  struct Range {
    int64_t outputs, first_output, first_slot;
    BlockWidth block;
    int64_t packed;  // where its weights begin
  };

  const SequenceShape& s;
  const T* packed;
  Range ranges[2];
  int count;

  BackwardProducts(const SequenceShape& shape, const T* weights, bool dx) : s(shape), packed(weights), count(0) {
    const int64_t inputs = dx ? s.columns : 0;
    add(s.hidden + (together ? inputs : 0), 0, 0);
    if (!together && inputs > 0) add(inputs, input_output(s), 1);
  }
  void add(int64_t outputs, int64_t first_output, int64_t first_slot) {
    const int64_t begin = count == 0 ? 0 : (s.hidden + padding) * depth(s);
    ranges[count++] = {outputs, first_output, first_slot, Products<T, rows>::block(outputs), begin};
  }

  // The gradients of a panel's sums as the products read them, in `memory` where that is not how they are.
  const T* factors(const T* entry, T* memory) const {
    if (!s.bfloat16) return entry;
    for (int64_t slot = 0; slot < sequence_sums; ++slot)
      to_pairs(s.pairs, s.hidden, rows, entry + slot * s.hidden * rows,
               memory + depth_rows(s, slot * s.depth_h) * rows);
    return memory;
  }

  // factors[p]: those of panel p, or null.  Adds to the outputs of the panel.
  template <class Outputs>
  void take(const T* const* factors, int64_t panels, Outputs&& outputs) const {
    const FlushedDenormals scope(s.bfloat16);
    for (int k = 0; k < count; ++k) {
      const Range& r = ranges[k];
      Product<T>* const run = Products<T, rows>::of(r.block.outputs, s.pairs);
      for (int64_t tile = 0; tile < r.block.count; ++tile)
        for (int64_t p = 0; p < panels; ++p)
          if (factors[p] != nullptr)
            run(depth_rows(s, depth(s)), packed + r.packed + tile * depth(s) * r.block.outputs,
                factors[p] + depth_rows(s, r.first_slot * s.depth_h) * rows, nullptr,
                outputs(p) + (r.first_output + tile * r.block.outputs) * rows);
    }
  }

  // The weights: [range][register block][slot][unit][output of the block].
  static void pack(const SequenceShape& s, const SequenceTensors<T>& t, int64_t item, void*) {
    const Direction<Cell, T> at(s, t, item / pack_pieces / s.directions, item / pack_pieces % s.directions);
    T* const all = t.packed + at.index * packed_numbers(s);
    const BackwardProducts products(s, all, takes_inputs(s, t));
    const int64_t piece = item % pack_pieces, sums = Cell::gates * s.hidden;
    for (int k = 0; k < products.count; ++k) {
      const Range& r = products.ranges[k];
      for (int64_t sum = piece * sums / pack_pieces; sum < (piece + 1) * sums / pack_pieces; ++sum) {
        const int64_t slot = sum / s.hidden + (k == 1 ? 1 : 0), unit = sum % s.hidden;
        const int64_t gate_h = Cell::recurrent_sums[slot], gate_x = Cell::input_sums[slot];
        const int64_t place = sum / s.hidden * s.depth_h + unit, all_outputs = r.block.count * r.block.outputs;
        const int64_t h_outputs = k == 0 ? s.hidden : 0, x_outputs = r.outputs - h_outputs;
        PackedRow out(s, all + r.packed, r.block.outputs, place);
        out.put(at.weight_hh() + (gate_h * s.hidden + unit) * s.hidden, h_outputs);
        out.put(x_outputs == 0 ? nullptr : at.weight_ih() + (gate_x * s.hidden + unit + 1) * s.inputs - s.columns,
                x_outputs);
        out.put(nullptr, all_outputs - r.outputs);
        if (unit + 1 == s.hidden && s.hidden < s.depth_h)
          PackedRow(s, all + r.packed, r.block.outputs, place + 1).put(nullptr, all_outputs);
      }
    }
  }
  // The outputs at one place of the reduction dimension, on their way into the register blocks.
  struct PackedRow {
    const SequenceShape& s;
    const int64_t step, width, half;
    T* block;
    int64_t output = 0;
    PackedRow(const SequenceShape& shape, T* blocks, int64_t block_width, int64_t place)
        : s(shape),
          step(depth(shape) * block_width),
          width(block_width),
          half(place % 2),
          block(blocks + row_of(shape, place) * block_width) {}
    static int64_t row_of(const SequenceShape& s, int64_t place) {  // as to_pairs puts them
      if (s.pairs) return place / 2;
      return s.bfloat16 ? place ^ 1 : place;
    }

    void put(const T* values, int64_t count) {  // null: zeros
      for (int64_t k = 0; k < count; ++k) {
        if (output == width) block += step, output = 0;
        put(values == nullptr ? T(0) : values[k], block + output++);
      }
    }
    void put(T value, T* place) const {
      if (s.bfloat16) value = bfloat16_rounded(value);
      if (!s.pairs)
        *place = value;
      else  // its upper half, into one half of the word
        __builtin_memcpy(reinterpret_cast<char*>(place) + 2 * half, reinterpret_cast<const char*>(&value) + 2, 2);
    }
  };
};

// Weight gradients of one group.  The sums' gradients of some steps (entries) are kept; then the states and inputs that
// met them are laid out as columns, and one product adds them all to the group's partial sums.
template <class Cell, class T, int rows>
struct WeightGradients {
  using V = Pack<T>;
  using Chosen = GradientProducts<T, rows>;
  static constexpr int width = Number<V>::width;
  static constexpr bool together = Cell::gates == 4;
  static constexpr int first_input = Cell::input_sums[0] < 0 ? 1 : 0;

  static int64_t entry_numbers(const SequenceShape& s) { return (sequence_sums * s.hidden + gradient_outputs) * rows; }
  static int64_t most_entries(const SequenceShape& s) { return s.chunk_steps * s.block_panels; }

  // Partial sums: of the weights against h (and x, if together), against x, of the biases twice, against the tokens.
  static int64_t sums_of_products(const SequenceShape& s) {
    return rounded_up(Cell::gates * s.hidden, gradient_outputs);
  }
  static int64_t h_columns(const SequenceShape& s) { return rounded_up(s.hidden + (together ? s.columns : 0), 16); }
  static int64_t x_columns(const SequenceShape& s) { return together ? 0 : rounded_up(s.columns, 16); }
  static int64_t x_begin(const SequenceShape& s) { return sums_of_products(s) * h_columns(s); }
  static int64_t bias_begin(const SequenceShape& s) { return x_begin(s) + sums_of_products(s) * x_columns(s); }
  static int64_t bias_numbers(const SequenceShape& s) { return sequence_sums * s.hidden * sum_columns; }
  static int64_t tokens_begin(const SequenceShape& s) { return bias_begin(s) + 2 * bias_numbers(s); }
  static int64_t token_sums(const SequenceShape& s) { return (sequence_sums - first_input) * s.hidden; }
  static int64_t most_tokens(const SequenceShape& s) {  // that a group can meet
    return smaller(s.x_inputs, s.steps * smaller(s.batch, s.group_blocks * s.block_panels * s.panel_rows));
  }
  static int64_t partial(const SequenceShape& s) {
    return rounded_up(tokens_begin(s) + (s.token_ids ? TokenSums<T>::numbers(most_tokens(s), token_sums(s)) : 0), 16);
  }
  static int64_t flush_token_numbers(const SequenceShape& s) {
    return s.token_ids ? TokenSums<T>::numbers(most_entries(s) * rows, token_sums(s)) : 0;
  }

  struct Entry {
    int64_t step, panel;
  };
  // Of a thread.
  struct Memory {
    T *entries, *columns;
    Entry* places;
    T *biases, *token_ids;  // of the entries since the last flush
    void take(const SequenceShape& s, Arena& m) {
      const int64_t widest = 64 * rows * most_entries(s);  // one register block of columns
      const int64_t row_major = s.token_ids ? token_sums(s) * rows : 0;
      entries = m.take<T>(most_entries(s) * entry_numbers(s));
      columns = m.take<T>(widest > row_major ? widest : row_major);
      places = m.take<Entry>(most_entries(s));
      biases = m.take<T>(bias_numbers(s));
      token_ids = m.take<T>(flush_token_numbers(s));
    }
  };

  const SequenceShape& s;
  const SequenceTensors<T>& t;
  const Direction<Cell, T> at;
  const bool wanted;
  T *const sums, *const biases, *const entries, *const columns;
  Entry* const places;
  T *const flush_biases, *const flush_tokens;
  int64_t count;

  // `slot`: which of the partial sums in memory is this group's.
  WeightGradients(const Direction<Cell, T>& of, int64_t slot, const Memory& memory)
      : s(of.s),
        t(of.t),
        at(of),
        wanted(of.t.dweight_ih != nullptr || of.t.dweight_hh != nullptr || of.t.dbias_ih != nullptr),
        sums(of.t.partial + slot * partial(of.s)),
        biases(sums + bias_begin(of.s)),
        entries(memory.entries),
        columns(memory.columns),
        places(memory.places),
        flush_biases(memory.biases),
        flush_tokens(memory.token_ids),
        count(0) {
    if (wanted) fill(sums, tokens_begin(s), T(0));
    if (wanted && s.token_ids) group_tokens().places.clear();
    fill(flush_biases, bias_numbers(s), T(0));
    const int64_t used = sequence_sums * s.hidden * rows;
    for (int64_t k = 0; k < most_entries(s); ++k)
      fill(entries + k * entry_numbers(s) + used, entry_numbers(s) - used, T(0));
  }

  // Where the gradients of a panel's sums at a step belong.
  T* entry(int64_t step, int64_t panel) {
    places[count] = {step, panel};
    return entries + count++ * entry_numbers(s);
  }
  bool full(int64_t panels) const { return count + panels > most_entries(s); }

  MK_INLINE void add_bias(int64_t unit, int column, const V (&values)[4]) {
    if (!wanted) return;
    T* place = flush_biases + unit * sum_columns + column;
    for (int slot = 0; slot < 4; ++slot, place += s.hidden * sum_columns) (V::load(place) + values[slot]).store(place);
  }

  void flush() {
    if (wanted && count > 0) {
      add_biases();
      if (s.token_ids) add_tokens();
      if (s.bfloat16)
        for (int64_t k = 0; k < count; ++k)
          neighbours_to_pairs(s.pairs, entry_numbers(s), entries + k * entry_numbers(s));
      const FlushedDenormals scope(s.bfloat16);
      add_columns(s.hidden + (together ? s.columns : 0), true, 0, sums, h_columns(s));
      if (!together && s.columns > 0) add_columns(s.columns, false, s.hidden, sums + x_begin(s), x_columns(s));
    }
    count = 0;
  }

  // `with_h`: the columns are h, then x and what was fed with it; else without h.
  void add_columns(int64_t all, bool with_h, int64_t first_sum, T* out, int64_t out_step) {
    const int64_t segment = depth_rows(s, rows), halves = (all + width / 2 - 1) / (width / 2);
    const int64_t packs = (all + width - 1) / width, blocks = (packs + Chosen::most - 1) / Chosen::most;
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t first = block * packs / blocks, taken = (block + 1) * packs / blocks - first;
      const bool half = Chosen::halves && !s.bfloat16 && block + 1 == blocks && halves % 2 == 1;
      const int64_t wide = taken * width - (half ? width / 2 : 0);
      for (int64_t k = 0; k < count; ++k)
        lay_out(places[k], first * width, wide, all, with_h, columns + k * segment * wide);
      for (int64_t sum = 0; sum < sums_of_products(s); sum += gradient_outputs)
        Chosen::of(taken, half, s.pairs)(count, entries + (first_sum + sum) * segment, entry_numbers(s), columns,
                                         out + sum * out_step + first * width, out_step);
    }
  }

  // Row r of out: columns [first, first + wide) of [h before the step, x, what was fed], zeros where there is nothing.
  void lay_out(Entry e, int64_t first, int64_t wide, int64_t all, bool with_h, T* const columns_of_entry) const {
    const int64_t h_wide = with_h ? s.hidden : 0;
    T* out = columns_of_entry;
    for (int64_t r = 0; r < rows; ++r, out += wide) {
      const int64_t row = e.panel * rows + r;
      const int64_t length = t.lengths != nullptr && row < s.batch ? t.lengths[at.model * s.batch + row] : s.steps;
      if (row >= s.batch || e.step >= length) {
        fill(out, wide, T(0));
        continue;
      }
      const bool starts = at.first(e.step) || at.before(e.step) >= length;
      const T* h = starts ? (t.h0 == nullptr ? nullptr : t.h0 + at.state_row(row))
                          : t.saved_y + at.y_row(at.before(e.step), row);
      const T* x = s.x_columns > 0 ? t.x + at.x_row(e.step, row) : nullptr;
      copy(h, first, smaller(first + wide, h_wide), out);
      copy_columns(x, h_wide, h_wide + s.x_columns, first, wide, out);
      if (s.fed > 0) copy_columns(fed(e.step, row), h_wide + s.x_columns, all, first, wide, out);
      if (first + wide > all) fill(out + all - first, first + wide - all, T(0));
    }
    if (s.bfloat16) to_pairs(s.pairs, rows, wide, columns_of_entry, columns_of_entry);
  }
  // What attention fed into the step: the context of this step or, if it asks after the cell, of the step before.
  const T* fed(int64_t step, int64_t row) const {
    const AttentionTensors<T>& a = *t.attention;
    const T* const of_all = s.attention.feed == Feed::context ? a.saved_context : a.saved_attentional;
    if (s.attention.query_before) return of_all + at.step_row(step, row) * s.fed;
    if (step > 0) return of_all + at.step_row(step - 1, row) * s.fed;
    return a.feed0 == nullptr ? nullptr : a.feed0 + (at.model * s.batch + row) * s.fed;
  }
  // Columns [begin, end) are the numbers of `in`.
  static void copy_columns(const T* in, int64_t begin, int64_t end, int64_t first, int64_t wide, T* out) {
    const int64_t from = first > begin ? first : begin, to = smaller(first + wide, end);
    if (from < to) copy(in, from - begin, to - begin, out + from - first);
  }
  static void copy(const T* in, int64_t begin, int64_t end, T* out) {
    if (in == nullptr) return fill(out, end - begin, T(0));
    for (; begin < end; begin += width, out += width)
      store_part(load_part<V>(in + begin, end - begin), out, end - begin);
  }

  TokenSums<T> group_tokens() const { return {sums + tokens_begin(s), most_tokens(s), token_sums(s)}; }

  // With token ids a row's gradients are added to those of its token.
  void add_tokens() {
    const int64_t wide = token_sums(s);
    const TokenSums<T> of_flush(flush_tokens, most_entries(s) * rows, wide), of_group = group_tokens();
    of_flush.places.clear();
    for (int64_t k = 0; k < count; ++k) {
      const int64_t used = rows_of(s, places[k].panel), first = places[k].panel * rows, step = places[k].step;
      from_panel(entries + k * entry_numbers(s) + first_input * s.hidden * rows, rows, used, wide, columns, wide);
      for (int64_t r = 0; r < used; ++r)
        if (step < length_of(s, t.lengths, at.model, first + r))
          of_flush.add(t.token_ids[at.token_row(step, first + r)], columns + r * wide);
    }
    for (int64_t place = 0; place < of_flush.places.count(); ++place)
      of_group.add(of_flush.places.token(place), of_flush.sums + place * wide);
  }

  // The sums of long sequences would lose what single steps add to them: what rounding takes away is summed besides.
  void add_biases() const {
    const int64_t numbers = bias_numbers(s);
    for (int64_t k = 0; k < numbers; k += width) {
      add_exactly(V::load(flush_biases + k), biases + k, biases + numbers + k);
      splat<V>(0).store(flush_biases + k);
    }
  }
};

}  // namespace mk::MK_ISA
