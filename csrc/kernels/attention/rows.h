// Attention apart from a recurrence.  All queries of a row meet the same keys and values, which stay in the cache while
// the row is taken; so an item is a row, its tensors are read as they lie, and lanes are numbers of a key or a value.
//
// A product of two rows of numbers goes through sum_columns columns, which are added as a balanced tree; all other sums
// are chains of multiply-adds over places or queries in their order.  So bits do not depend on the width of packs.
#pragma once
#include "cells/attention.h"
#include "cells/gates.h"
#include "common/arena.h"
#include "common/matmul.h"
#include "kernels/attention/shape.h"
#include "kernels/sequences/rows.h"
#include "kernels/table.h"

namespace mk::MK_ISA {

// Up to sum_columns numbers as packs; what lies beyond `left` reads as 0 and is not written.
template <class T>
struct Columns {
  using V = Pack<T>;
  static constexpr int width = Number<V>::width, P = int{sum_columns} / width;
  V packs[P];

  static MK_INLINE Columns load(const T* p, int64_t left) {
    Columns c;
    if (left >= sum_columns) {
      MK_UNROLL_ALL
      for (int k = 0; k < P; ++k) c.packs[k] = V::load(p + k * width);
    } else {
      for (int k = 0; k < P; ++k) c.packs[k] = load_part<V>(p + k * width, left - k * width);
    }
    return c;
  }
  MK_INLINE void store(T* p, int64_t left) const {
    if (left >= sum_columns) {
      MK_UNROLL_ALL
      for (int k = 0; k < P; ++k) packs[k].store(p + k * width);
    } else {
      for (int k = 0; k < P; ++k) store_part(packs[k], p + k * width, left - k * width);
    }
  }
  static MK_INLINE Columns zeros() {
    Columns c;
    for (int k = 0; k < P; ++k) c.packs[k] = splat<V>(0);
    return c;
  }
  template <class F>
  static MK_INLINE Columns each(const F& f) {
    Columns c;
    MK_UNROLL_ALL
    for (int k = 0; k < P; ++k) c.packs[k] = f(k);
    return c;
  }
  MK_INLINE T sum() const {
    V halves[P];
    for (int k = 0; k < P; ++k) halves[k] = packs[k];
    for (int half = P / 2; half > 0; half /= 2)
      for (int k = 0; k < half; ++k) halves[k] = halves[k] + halves[k + half];
    return lane_sum(halves[0]);
  }
};

template <class T>
struct AttentionRow {
  using C = Columns<T>;
  using V = typename C::V;

  // The places that take part, and of one head (Q,S): scores, then probabilities, and their gradients.
  struct Memory {
    int64_t* places;
    T *probabilities, *dscores, *query;
    int64_t bytes;
    Memory(const AttentionStepShape& s, bool backward, void* memory) {
      Arena m(memory);
      const AttentionShape& a = s.attention;
      places = m.take<int64_t>(a.source);
      probabilities = m.take<T>(s.queries * a.source + sum_columns);
      query = m.take<T>(a.key);
      dscores = m.take<T>(backward ? s.queries * a.source + sum_columns : 0);
      bytes = m.used();
    }
  };
  static int64_t forward_scratch(const AttentionStepShape& s) { return Memory(s, false, nullptr).bytes; }
  static int64_t backward_scratch(const AttentionStepShape& s) { return Memory(s, true, nullptr).bytes; }

  const AttentionStepShape& s;
  const AttentionShape& a;
  const AttentionStepTensors<T>& t;
  const int64_t row;  // of (E,B)
  const Memory memory;
  int64_t count;  // places that take part

  AttentionRow(const AttentionStepShape& shape, const AttentionStepTensors<T>& tensors, int64_t item, bool backward,
               void* scratch)
      : s(shape), a(shape.attention), t(tensors), row(item), memory(shape, backward, scratch), count(0) {
    for (int64_t place = 0; place < a.source; ++place)
      if (t.attention.mask == nullptr || t.attention.mask[row * a.source + place] != 0) memory.places[count++] = place;
  }

  const T* score_weight(int64_t head) const {
    return t.attention.weight_score + row / s.batch * a.query() + head * a.key;
  }
  // Row `place` of keys or values, the numbers of a head.
  static T* at(T* tensor, int64_t index, int64_t numbers, int64_t head, int64_t size) {
    return tensor + index * numbers + head * size;
  }
  static const T* at(const T* tensor, int64_t index, int64_t numbers, int64_t head, int64_t size) {
    return tensor + index * numbers + head * size;
  }

  static void forward(const AttentionStepShape& shape, const AttentionStepTensors<T>& tensors, int64_t item,
                      void* scratch) {
    AttentionRow r(shape, tensors, item, false, scratch);
    for (int64_t head = 0; head < r.a.heads; ++head)
      for (int64_t q = 0; q < r.s.queries; ++q) {
        r.attend(head, q);
        if (tensors.weights != nullptr) r.write_weights(head, q);
      }
  }

  // out[n] = q . m[places[n]]
  MK_NOINLINE void dots(const T* q, const T* m, int64_t numbers, int64_t size, T* out) const {
    constexpr int together = 4;
    int64_t n = 0;
    for (; n + together <= count; n += together) {
      C sums[together];
      const T* rows[together];
      for (int j = 0; j < together; ++j) sums[j] = C::zeros(), rows[j] = m + memory.places[n + j] * numbers;
      for (int64_t k = 0; k < size; k += sum_columns) {
        const C factor = C::load(q + k, size - k);
        MK_UNROLL_ALL
        for (int j = 0; j < together; ++j) {
          const C value = C::load(rows[j] + k, size - k);
          MK_UNROLL_ALL
          for (int p = 0; p < C::P; ++p) sums[j].packs[p] = fma(value.packs[p], factor.packs[p], sums[j].packs[p]);
        }
      }
      for (int j = 0; j < together; ++j) out[n + j] = sums[j].sum();
    }
    for (; n < count; ++n) {
      C sum = C::zeros();
      for (int64_t k = 0; k < size; k += sum_columns) {
        const C value = C::load(m + memory.places[n] * numbers + k, size - k), factor = C::load(q + k, size - k);
        for (int p = 0; p < C::P; ++p) sum.packs[p] = fma(value.packs[p], factor.packs[p], sum.packs[p]);
      }
      out[n] = sum.sum();
    }
  }

  // out[k] = sum over n of f[n] m[places[n]][k]
  MK_NOINLINE void mix(const T* f, const T* m, int64_t numbers, int64_t size, T* out) const {
    constexpr int together = 4;
    int64_t k = 0;
    for (; k + together * sum_columns <= size; k += together * sum_columns) {
      C sums[together];
      for (int j = 0; j < together; ++j) sums[j] = C::zeros();
      for (int64_t n = 0; n < count; ++n) {
        const V factor = splat<V>(f[n]);
        const T* const in = m + memory.places[n] * numbers + k;
        MK_UNROLL_ALL
        for (int j = 0; j < together; ++j) {
          MK_UNROLL_ALL
          for (int p = 0; p < C::P; ++p)
            sums[j].packs[p] = fma(V::load(in + j * sum_columns + p * C::width), factor, sums[j].packs[p]);
        }
      }
      for (int j = 0; j < together; ++j) sums[j].store(out + k + j * sum_columns, sum_columns);
    }
    for (; k < size; k += sum_columns) {
      C sum = C::zeros();
      for (int64_t n = 0; n < count; ++n) {
        const C value = C::load(m + memory.places[n] * numbers + k, size - k);
        for (int p = 0; p < C::P; ++p) sum.packs[p] = fma(value.packs[p], splat<V>(f[n]), sum.packs[p]);
      }
      sum.store(out + k, size - k);
    }
  }

  // The query, scaled as the scores are.
  void load_query(int64_t head, int64_t q) const {
    const T* const in = at(t.query, row * s.queries + q, a.query(), head, a.key);
    for (int64_t k = 0; k < a.key; ++k) memory.query[k] = in[k] * t.attention.scale;
  }

  void attend(int64_t head, int64_t q) const {
    T* const scores = memory.probabilities + q * a.source;
    const T* const keys = at(t.attention.keys, row * a.source, a.query(), head, a.key);
    const T* const values = at(t.attention.values, row * a.source, a.context(), head, a.value);
    load_query(head, q);
    if (a.additive)
      additive(score_weight(head), keys, scores);
    else
      dots(memory.query, keys, a.query(), a.key, scores);
    normalise(scores);
    mix(scores, values, a.context(), a.value, at(t.context, row * s.queries + q, a.context(), head, a.value));
  }

  MK_NOINLINE void additive(const T* v, const T* keys, T* out) const {
    for (int64_t n = 0; n < count; ++n) {
      C sum = C::zeros();
      for (int64_t k = 0; k < a.key; k += sum_columns) {
        const C key = C::load(keys + memory.places[n] * a.query() + k, a.key - k);
        const C query = C::load(memory.query + k, a.key - k), factor = C::load(v + k, a.key - k);
        for (int p = 0; p < C::P; ++p)
          sum.packs[p] = fma(factor.packs[p], gate_tanh(key.packs[p] + query.packs[p]), sum.packs[p]);
      }
      out[n] = sum.sum();
    }
  }

  // A sum over places goes through columns as well.
  MK_NOINLINE void normalise(T* scores) const {
    if (count == 0) return;
    T largest = scores[0];
    for (int64_t n = 1; n < count; ++n) largest = scores[n] > largest ? scores[n] : largest;
    C sum = C::zeros();
    for (int64_t n = 0; n < count; n += sum_columns) {
      const C score = C::load(scores + n, count - n);
      const C e = C::each([&](int p) { return exp(score.packs[p] - splat<V>(largest)); });
      e.store(scores + n, count - n);
      const C there = C::load(scores + n, count - n);
      for (int p = 0; p < C::P; ++p) sum.packs[p] = sum.packs[p] + there.packs[p];
    }
    const V factor = splat<V>(T(1) / sum.sum());
    for (int64_t n = 0; n < count; n += sum_columns) {
      const C e = C::load(scores + n, count - n);
      C::each([&](int p) { return e.packs[p] * factor; }).store(scores + n, count - n);
    }
  }

  T* weights_at(T* tensor, int64_t head, int64_t q) const {
    return tensor + ((row * a.heads + head) * s.queries + q) * a.source;
  }
  void write_weights(int64_t head, int64_t q) const {
    T* const out = weights_at(t.weights, head, q);
    const T* const in = memory.probabilities + q * a.source;
    if (count < a.source) fill(out, a.source, T(0));
    for (int64_t n = 0; n < count; ++n) out[memory.places[n]] = in[n];
  }
};

}  // namespace mk::MK_ISA
