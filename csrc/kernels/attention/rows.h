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
  // Halves are added until one pack is left.
  MK_INLINE V folded() const {
    V halves[P];
    for (int k = 0; k < P; ++k) halves[k] = packs[k];
    for (int half = P / 2; half > 0; half /= 2)
      for (int k = 0; k < half; ++k) halves[k] = halves[k] + halves[k + half];
    return halves[0];
  }
  MK_INLINE T sum() const { return lane_sum(folded()); }
};

// 0, 1, …, n - 1
template <int... lane>
struct Lanes {};
template <int n, int... more>
struct LanesUpTo : LanesUpTo<n - 1, n - 1, more...> {};
template <int... all>
struct LanesUpTo<0, all...> {
  using type = Lanes<all...>;
};

// Lanes of one and then of the other, each with its segments of `size` lanes folded: their halves are added.
template <class V, int size, int... lane>
MK_INLINE V fold_segments(V one, V other, Lanes<lane...>) {
  constexpr int half = size / 2;
  return {__builtin_shufflevector(one.raw, other.raw, (lane / half * size + lane % half)...) +
          __builtin_shufflevector(one.raw, other.raw, (lane / half * size + lane % half + half)...)};
}
// The sums of n packs, partly folded: n segments.  With as many packs as one has lanes, lane k is the sum of packs[k],
// as lane_sum adds it.
template <int n, class V>
MK_INLINE V sums_of(const V* packs) {
  if constexpr (n == 1) {
    return packs[0];
  } else {
    constexpr int width = Number<V>::width;
    return fold_segments<V, 2 * width / n>(sums_of<n / 2>(packs), sums_of<n / 2>(packs + n / 2),
                                           typename LanesUpTo<width>::type{});
  }
}

// Queries, places and columns of one register block.  Scratch has room for the most queries on every machine.
constexpr int64_t queries_together = 4;
constexpr int block_queries = many_registers ? 4 : 2, block_places = block_queries;

template <class T>
struct AttentionRow {
  using C = Columns<T>;
  using V = typename C::V;
  static constexpr int block_columns = many_registers && C::P == 1 ? 4 : 1;

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
      query = m.take<T>(queries_together * a.key);
      dscores = m.take<T>(backward ? s.queries * a.source + sum_columns : 0);
      bytes = m.used();
    }
  };
  static int64_t forward_scratch(const AttentionStepShape& s) { return Memory(s, false, nullptr).bytes; }
  static int64_t backward_scratch(const AttentionStepShape& s) { return Memory(s, true, nullptr).bytes; }

  const AttentionStepShape& s;
  const AttentionShape& a;
  const AttentionStepTensors<T>& t;
  const int64_t row, source_row;  // of (E,B), and of keys, values and mask
  const Memory memory;
  int64_t count;  // places that take part

  AttentionRow(const AttentionStepShape& shape, const AttentionStepTensors<T>& tensors, int64_t item, bool backward,
               void* scratch)
      : s(shape),
        a(shape.attention),
        t(tensors),
        row(item),
        source_row(source_of(tensors, item / shape.batch, item)),
        memory(shape, backward, scratch),
        count(0) {
    for (int64_t place = 0; place < a.source; ++place)
      if (t.attention.mask == nullptr || t.attention.mask[source_row * a.source + place] != 0)
        memory.places[count++] = place;
  }

  static int64_t source_of(const AttentionStepTensors<T>& t, int64_t model, int64_t row) {
    return t.rows == nullptr ? row : model * t.sources + t.rows[row];
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
      for (int64_t q = 0; q < r.s.queries; q += block_queries) r.attend(head, q);
  }

  // out[u][n] = q[u] . m[places[n]] for `used` queries; rows of q and out are their steps apart.
  MK_NOINLINE void dots(int64_t used, const T* q, int64_t q_step, const T* m, int64_t numbers, int64_t size, T* out,
                        int64_t out_step) const {
    if (used == 1) return dots_of<1>(1, q, q_step, m, numbers, size, out, out_step);
    dots_of<block_queries>(used, q, q_step, m, numbers, size, out, out_step);
  }
  template <int Q>
  MK_INLINE void dots_of(int64_t used, const T* q, int64_t q_step, const T* m, int64_t numbers, int64_t size, T* out,
                         int64_t out_step) const {
    constexpr int N = block_places;
    const T* queries[Q];  // the last one again and again where there are fewer
    for (int u = 0; u < Q; ++u) queries[u] = q + (u < used ? u : used - 1) * q_step;
    for (int64_t n = 0; n < count; n += N) {
      const T* rows[N];
      for (int j = 0; j < N; ++j) rows[j] = m + memory.places[n + j < count ? n + j : count - 1] * numbers;
      C sums[Q * N];
      MK_UNROLL_ALL
      for (int k = 0; k < Q * N; ++k) sums[k] = C::zeros();
      for (int64_t k = 0; k < size; k += sum_columns) {
        C factors[Q];
        MK_UNROLL_ALL
        for (int u = 0; u < Q; ++u) factors[u] = C::load(queries[u] + k, size - k);
        MK_UNROLL_ALL
        for (int j = 0; j < N; ++j) {
          const C value = C::load(rows[j] + k, size - k);
          MK_UNROLL_ALL
          for (int u = 0; u < Q; ++u) {
            C& sum = sums[u * N + j];
            MK_UNROLL_ALL
            for (int p = 0; p < C::P; ++p) sum.packs[p] = fma(value.packs[p], factors[u].packs[p], sum.packs[p]);
          }
        }
      }
      T found[Q * N];
      add_up<Q * N>(sums, found);
      for (int u = 0; u < Q && u < used; ++u) {
        T* const place = out + u * out_step + n;
        if (n + N <= count)
          __builtin_memcpy(place, found + u * N, N * sizeof(T));
        else
          for (int j = 0; n + j < count; ++j) place[j] = found[u * N + j];
      }
    }
  }
  template <int n>
  static MK_INLINE void add_up(const C* sums, T* found) {
    constexpr int together = n < C::width ? n : C::width;
    MK_UNROLL_ALL
    for (int first = 0; first < n; first += together) {
      V packs[C::width];
      MK_UNROLL_ALL
      for (int k = 0; k < C::width; ++k) packs[k] = sums[first + (k < together ? k : 0)].folded();
      const V all = sums_of<C::width>(packs);
      T lanes[C::width];
      all.store(lanes);
      for (int k = 0; k < together; ++k) found[first + k] = lanes[k];
    }
  }

  // out[u][k] = sum over n of f[u][n] m[places[n]][k] for `used` queries.
  MK_NOINLINE void mix(int64_t used, const T* f, int64_t f_step, const T* m, int64_t numbers, int64_t size, T* out,
                       int64_t out_step) const {
    const auto some = [&](auto block, int64_t k) {
      constexpr int K = decltype(block)::value;
      if (used == 1)
        mix_block<1, K>(1, f, f_step, m + k, numbers, size - k, out + k, out_step);
      else
        mix_block<block_queries, K>(used, f, f_step, m + k, numbers, size - k, out + k, out_step);
    };
    by_columns(size, some);
  }
  // Calls some(K, k) for blocks of K times sum_columns numbers that begin at k, the largest blocks first.
  template <int K>
  struct Count {
    static constexpr int value = K;
  };
  template <class Some>
  static MK_INLINE void by_columns(int64_t size, const Some& some) {
    int64_t k = 0;
    if constexpr (block_columns > 1) {
      for (; k + block_columns * sum_columns <= size; k += block_columns * sum_columns) some(Count<block_columns>{}, k);
      if (k + 2 * sum_columns <= size) some(Count<2>{}, k), k += 2 * sum_columns;
    }
    for (; k < size; k += sum_columns) some(Count<1>{}, k);
  }
  template <int Q, int K>
  MK_INLINE void mix_block(int64_t used, const T* f, int64_t f_step, const T* m, int64_t numbers, int64_t left, T* out,
                           int64_t out_step) const {
    const T* factors[Q];
    for (int u = 0; u < Q; ++u) factors[u] = f + (u < used ? u : used - 1) * f_step;
    C sums[Q * K];
    MK_UNROLL_ALL
    for (int k = 0; k < Q * K; ++k) sums[k] = C::zeros();
    for (int64_t n = 0; n < count; ++n) {
      const T* const in = m + memory.places[n] * numbers;
      C values[K];
      MK_UNROLL_ALL
      for (int k = 0; k < K; ++k) values[k] = C::load(in + k * sum_columns, left - k * sum_columns);
      MK_UNROLL_ALL
      for (int u = 0; u < Q; ++u) {
        const V factor = splat<V>(factors[u][n]);
        MK_UNROLL_ALL
        for (int k = 0; k < K; ++k) {
          MK_UNROLL_ALL
          for (int p = 0; p < C::P; ++p)
            sums[u * K + k].packs[p] = fma(values[k].packs[p], factor, sums[u * K + k].packs[p]);
        }
      }
    }
    MK_UNROLL_ALL
    for (int u = 0; u < Q; ++u) {
      if (u >= used) break;
      MK_UNROLL_ALL
      for (int k = 0; k < K; ++k) sums[u * K + k].store(out + u * out_step + k * sum_columns, left - k * sum_columns);
    }
  }

  int64_t taken(int64_t first) const { return s.queries - first < block_queries ? s.queries - first : block_queries; }

  // A block of queries, scaled as the scores are.
  void load_queries(int64_t head, int64_t first) const {
    for (int64_t u = 0; u < taken(first); ++u) {
      const T* const in = at(t.query, row * s.queries + first + u, a.query(), head, a.key);
      for (int64_t k = 0; k < a.key; ++k) memory.query[u * a.key + k] = in[k] * t.attention.scale;
    }
  }

  void attend(int64_t head, int64_t first) const {
    const int64_t used = taken(first);
    T* const scores = memory.probabilities + first * a.source;
    const T* const keys = at(t.attention.keys, source_row * a.source, a.query(), head, a.key);
    const T* const values = at(t.attention.values, source_row * a.source, a.context(), head, a.value);
    load_queries(head, first);
    if (!a.additive) dots(used, memory.query, a.key, keys, a.query(), a.key, scores, a.source);
    for (int64_t u = 0; u < used; ++u) {
      if (a.additive) additive(score_weight(head), memory.query + u * a.key, keys, scores + u * a.source);
      normalise(scores + u * a.source);
      if (t.weights != nullptr) write_weights(head, first + u);
    }
    mix(used, scores, a.source, values, a.context(), a.value,
        at(t.context, row * s.queries + first, a.context(), head, a.value), a.context());
  }

  MK_NOINLINE void additive(const T* v, const T* asked, const T* keys, T* out) const {
    for (int64_t n = 0; n < count; ++n) {
      C sum = C::zeros();
      for (int64_t k = 0; k < a.key; k += sum_columns) {
        const C key = C::load(keys + memory.places[n] * a.query() + k, a.key - k);
        const C query = C::load(asked + k, a.key - k), factor = C::load(v + k, a.key - k);
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
