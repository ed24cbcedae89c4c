// Attention apart from a recurrence backward: an item is a row, as in rows.h.
#pragma once
#include "kernels/attention/rows.h"

namespace mk::MK_ISA {

template <class T>
struct AttentionRowBackward : AttentionRow<T> {
  using Row = AttentionRow<T>;
  using Row::a, Row::s, Row::t, Row::row, Row::count, Row::memory, Row::at;
  using typename Row::C;
  using typename Row::V;

  AttentionRowBackward(const AttentionStepShape& shape, const AttentionStepTensors<T>& tensors, int64_t item,
                       void* scratch)
      : Row(shape, tensors, item, true, scratch) {}

  static void backward(const AttentionStepShape& shape, const AttentionStepTensors<T>& tensors, int64_t item,
                       void* scratch) {
    AttentionRowBackward r(shape, tensors, item, scratch);
    const AttentionShape& a = r.a;
    const AttentionTensors<T>& t = tensors.attention;
    if (r.count < a.source) {
      if (t.dkeys != nullptr) fill(t.dkeys + item * a.source * a.query(), a.source * a.query(), T(0));
      if (t.dvalues != nullptr) fill(t.dvalues + item * a.source * a.context(), a.source * a.context(), T(0));
    }
    if (t.score_partial != nullptr) fill(t.score_partial + item * a.query(), a.query(), T(0));
    for (int64_t head = 0; head < a.heads; ++head) r.take(head);
  }

  const T* arriving(int64_t head, int64_t q) const {
    return at(t.dcontext, row * s.queries + q, a.context(), head, a.value);
  }

  void take(int64_t head) const {
    const AttentionTensors<T>& of = t.attention;
    const T* const keys = at(of.keys, row * a.source, a.query(), head, a.key);
    const T* const values = at(of.values, row * a.source, a.context(), head, a.value);
    T* const dkeys = of.dkeys == nullptr ? nullptr : at(of.dkeys, row * a.source, a.query(), head, a.key);
    if (a.additive && dkeys != nullptr)
      for (int64_t n = 0; n < count; ++n) fill(dkeys + memory.places[n] * a.query(), a.key, T(0));
    for (int64_t first = 0; first < s.queries; first += block_queries) {
      const int64_t used = this->taken(first);
      T* const ds = memory.dscores + first * a.source;
      if (t.dcontext != nullptr)
        this->dots(used, arriving(head, first), a.context(), values, a.context(), a.value, ds, a.source);
      else
        fill(ds, used * a.source, T(0));
      if (a.additive) this->load_queries(head, first);
      for (int64_t u = 0; u < used; ++u) {
        T* const p = memory.probabilities + (first + u) * a.source;
        gather(t.saved_weights, head, first + u, p);
        if (t.dweights != nullptr) add_gathered(t.dweights, head, first + u, ds + u * a.source);
        to_scores(p, ds + u * a.source);
        if (a.additive)
          through_additive(head, memory.query + u * a.key, keys, ds + u * a.source, dquery_at(head, first + u), dkeys);
      }
      if (!a.additive && t.dquery != nullptr) through_dots(used, keys, ds, dquery_at(head, first));
    }
    if (of.dvalues != nullptr && t.dcontext == nullptr)
      for (int64_t n = 0; n < count; ++n)
        fill(at(of.dvalues, row * a.source + memory.places[n], a.context(), head, a.value), a.value, T(0));
    else if (of.dvalues != nullptr)
      outer(memory.probabilities, t.dcontext + row * s.queries * a.context() + head * a.value, a.context(), T(1),
            a.value, at(of.dvalues, row * a.source, a.context(), head, a.value));
    if (dkeys != nullptr && !a.additive)
      outer(memory.dscores, t.query + row * s.queries * a.query() + head * a.key, a.query(), of.scale, a.key, dkeys);
  }

  void gather(const T* weights, int64_t head, int64_t q, T* out) const {
    const T* const in = weights + ((row * a.heads + head) * s.queries + q) * a.source;
    for (int64_t n = 0; n < count; ++n) out[n] = in[memory.places[n]];
  }
  void add_gathered(const T* weights, int64_t head, int64_t q, T* out) const {
    const T* const in = weights + ((row * a.heads + head) * s.queries + q) * a.source;
    for (int64_t n = 0; n < count; ++n) out[n] = out[n] + in[memory.places[n]];
  }

  MK_NOINLINE void to_scores(const T* p, T* ds) const {
    C sum = C::zeros();
    for (int64_t n = 0; n < count; n += sum_columns) {
      const C one = C::load(p + n, count - n), other = C::load(ds + n, count - n);
      for (int k = 0; k < C::P; ++k) sum.packs[k] = fma(one.packs[k], other.packs[k], sum.packs[k]);
    }
    const V all = splat<V>(sum.sum());
    for (int64_t n = 0; n < count; n += sum_columns) {
      const C one = C::load(p + n, count - n), other = C::load(ds + n, count - n);
      C::each([&](int k) { return one.packs[k] * (other.packs[k] - all); }).store(ds + n, count - n);
    }
  }

  T* dquery_at(int64_t head, int64_t q) const {
    return t.dquery == nullptr ? nullptr : at(t.dquery, row * s.queries + q, a.query(), head, a.key);
  }
  void through_dots(int64_t used, const T* keys, const T* ds, T* dquery) const {
    this->mix(used, ds, a.source, keys, a.query(), a.key, dquery, a.query());
    for (int64_t u = 0; u < used; ++u)
      for (int64_t k = 0; k < a.key; ++k) dquery[u * a.query() + k] = dquery[u * a.query() + k] * t.attention.scale;
  }

  // Adds to dkeys and to the row's gradient of the score's weights.
  MK_NOINLINE void through_additive(int64_t head, const T* asked, const T* keys, const T* ds, T* dquery,
                                    T* dkeys) const {
    const T* const v = this->score_weight(head);
    T* const dv =
        t.attention.score_partial == nullptr ? nullptr : t.attention.score_partial + row * a.query() + head * a.key;
    const V one = splat<V>(1);
    for (int64_t k = 0; k < a.key; k += sum_columns) {
      const int64_t left = a.key - k;
      const C query = C::load(asked + k, left), factor = C::load(v + k, left);
      C sum_q = C::zeros(), sum_v = dv == nullptr ? C::zeros() : C::load(dv + k, left);
      for (int64_t n = 0; n < count; ++n) {
        const int64_t place = memory.places[n] * a.query() + k;
        const C key = C::load(keys + place, left);
        const V arriving_here = splat<V>(ds[n]);
        C slope;
        for (int p = 0; p < C::P; ++p) {
          const V value = gate_tanh(key.packs[p] + query.packs[p]);
          slope.packs[p] = arriving_here * factor.packs[p] * fma(-value, value, one);
          sum_q.packs[p] = sum_q.packs[p] + slope.packs[p];
          sum_v.packs[p] = fma(arriving_here, value, sum_v.packs[p]);
        }
        if (dkeys == nullptr) continue;
        const C before = C::load(dkeys + place, left);
        C::each([&](int p) { return before.packs[p] + slope.packs[p]; }).store(dkeys + place, left);
      }
      if (dquery != nullptr) sum_q.store(dquery + k, left);
      if (dv != nullptr) sum_v.store(dv + k, left);
    }
  }

  // out[places[n]][k] = factor * sum over q of f[q][n] m[q][k]
  MK_NOINLINE void outer(const T* f, const T* m, int64_t numbers, T factor, int64_t size, T* out) const {
    this->by_columns(size, [&](auto block, int64_t k) {
      outer_block<decltype(block)::value>(f, m + k, numbers, factor, size - k, out + k);
    });
  }
  template <int K>
  MK_INLINE void outer_block(const T* f, const T* m, int64_t numbers, T factor, int64_t left, T* out) const {
    constexpr int N = block_places;
    const V scale = splat<V>(factor);
    for (int64_t n = 0; n < count; n += N) {
      C sums[N * K];
      MK_UNROLL_ALL
      for (int j = 0; j < N * K; ++j) sums[j] = C::zeros();
      for (int64_t q = 0; q < s.queries; ++q) {
        C values[K];
        MK_UNROLL_ALL
        for (int k = 0; k < K; ++k) values[k] = C::load(m + q * numbers + k * sum_columns, left - k * sum_columns);
        MK_UNROLL_ALL
        for (int j = 0; j < N; ++j) {  // behind the last place stands something that goes nowhere
          const V weight = splat<V>(f[q * a.source + n + j]);
          MK_UNROLL_ALL
          for (int k = 0; k < K; ++k) {
            MK_UNROLL_ALL
            for (int p = 0; p < C::P; ++p)
              sums[j * K + k].packs[p] = fma(values[k].packs[p], weight, sums[j * K + k].packs[p]);
          }
        }
      }
      MK_UNROLL_ALL
      for (int j = 0; j < N; ++j) {
        if (n + j >= count) break;
        MK_UNROLL_ALL
        for (int k = 0; k < K; ++k)
          C::each([&](int p) {
            return sums[j * K + k].packs[p] * scale;
          }).store(out + memory.places[n + j] * numbers + k * sum_columns, left - k * sum_columns);
      }
    }
  }
};

}  // namespace mk::MK_ISA
