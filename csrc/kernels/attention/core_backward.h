// Attention of a panel of rows backward.  Gradients of keys and values are sums over steps: what they are made of is
// kept for some steps, and one product adds it all up.
#pragma once
#include "kernels/attention/core.h"

namespace mk::MK_ISA {

template <class T, int rows>
struct AttentionCoreBackward : AttentionCore<T, rows> {
  using Core = AttentionCore<T, rows>;
  using Core::a, Core::t, Core::tiles, Core::places, Core::scores, Core::query, Core::rows_used;
  using typename Core::RowBits;
  using typename Core::Tiles;
  using typename Core::V;
  static constexpr int width = Core::width, lanes = Core::lanes, parts = Core::parts, U = Core::U;

  T *dscores, *dweights, *dquery, *dcontext;
  T *kept_probabilities, *kept_dscores;  // [part][head][tile][step][place][lane]
  T *kept_queries, *kept_dcontexts;      // [part][head][pair of k][step][k][lane]
  T* tile;                               // [k][place][lane]
  T *dkeys, *dscore_weight;              // additive: gradients of keys, as keys lie; of the weights, by lane
  int64_t count;                         // steps that are kept
  bool flushed;

  static int64_t paired(int64_t size) { return rounded_up(size, query_tile); }
  void take(const AttentionShape& shape, Arena& m) {
    Core::take(shape, m);
    const int64_t probabilities = padded_places(shape) * shape.heads * rows;
    dscores = m.take<T>(probabilities);
    dweights = m.take<T>(probabilities);
    dquery = m.take<T>(shape.query() * rows);
    dcontext = m.take<T>(shape.context() * rows);
    kept_probabilities = m.take<T>(probabilities * gradient_steps);
    kept_dcontexts = m.take<T>(shape.heads * paired(shape.value) * gradient_steps * rows);
    tile = m.take<T>(paired(shape.key > shape.value ? shape.key : shape.value) * widest_tile * rows);
    const int64_t dot = shape.additive ? 0 : 1, additive = 1 - dot;
    kept_dscores = m.take<T>(dot * probabilities * gradient_steps);
    kept_queries = m.take<T>(dot * shape.heads * paired(shape.key) * gradient_steps * rows);
    dkeys = m.take<T>(additive * padded_places(shape) * shape.query() * rows);
    dscore_weight = m.take<T>(additive * shape.query() * rows);
  }

  void start(const AttentionShape& shape, const AttentionTensors<T>& tensors, int64_t of_batch, int64_t of_model,
             int64_t first) {
    Core::start(shape, tensors, of_batch, of_model, first);
    count = 0;
    flushed = false;
    fill(kept_dcontexts, a->heads * paired(a->value) * gradient_steps * rows, T(0));
    if (!a->additive) return fill(kept_queries, a->heads * paired(a->key) * gradient_steps * rows, T(0));
    fill(dkeys, places * a->query() * rows, T(0));
    fill(dscore_weight, a->query() * rows, T(0));
  }

  // From dcontext, and dweights if there are any, to dquery.  `scores` hold the step's probabilities; valid: rows that
  // have not ended, null if none has.
  void backward(const T* asked, const RowBits* valid, bool with_weights) {
    const V scale = splat<V>(t->scale);
    for (int64_t k = 0; k < a->query() * rows; k += width) (V::load(asked + k) * scale).store(query + k);
    if (a->additive) fill(dquery, a->query() * rows, T(0));
    for (int64_t head = 0; head < a->heads; ++head) {
      T* const of_dscores = this->of_head(dscores, places, head);
      for (int64_t part = 0; part < parts; ++part)
        Tiles::dots(tiles, a->value, this->laid_out(this->values, a->value, part, head),
                    this->of_head(dcontext, a->value, head) + part * lanes, of_dscores + part * lanes);
      if (with_weights) {
        const T* const more = this->of_head(dweights, places, head);
        for (int64_t k = 0; k < a->source * rows; k += width)
          (V::load(of_dscores + k) + V::load(more + k)).store(of_dscores + k);
      }
      if (t->mask != nullptr || valid != nullptr)
        to_scores<true>(head, valid);
      else
        to_scores<false>(head, valid);
      for (int64_t part = 0; part < parts; ++part) add_to_query(head, part, of_dscores + part * lanes);
    }
    for (int64_t k = 0; k < a->query() * rows; k += width) (V::load(dquery + k) * scale).store(dquery + k);
    if (valid != nullptr) keep_valid(dquery, a->query(), valid);
    if (t->dvalues != nullptr) {
      record(scores, places, U, kept_probabilities, valid);
      record(dcontext, a->value, query_tile, kept_dcontexts, valid);
    }
    if (t->dkeys != nullptr && !a->additive) {
      record(dscores, places, U, kept_dscores, nullptr);
      record(query, a->key, query_tile, kept_queries, valid);
    }
    if (++count == gradient_steps) flush();
  }

  void add_to_query(int64_t head, int64_t part, const T* of_dscores) const {
    const T* const m = this->laid_out(this->keys, a->key, part, head);
    T* const out = this->of_head(dquery, a->key, head) + part * lanes;
    if (!a->additive) return Tiles::mix(tiles, a->key, m, of_dscores, out);
    Tiles::additive_backward(tiles, a->key, m, this->of_head(query, a->key, head) + part * lanes,
                             this->score_weight(head), of_dscores, this->laid_out(dkeys, a->key, part, head), out,
                             this->of_head(dscore_weight, a->key, head) + part * lanes);
  }

  // Places that take no part, and rows that have ended, get exact zeros: 0 times a gradient is not 0 for every
  // gradient.
  template <bool masked>
  MK_NOINLINE void to_scores(int64_t head, const RowBits* valid) const {
    const T* const of_scores = this->of_head(scores, places, head);
    T* const of_dscores = this->of_head(dscores, places, head);
    for (int64_t r = 0; r < rows; r += width) {
      Mask<V> counts = splat<V>(0) == splat<V>(0);
      if (masked && valid != nullptr) __builtin_memcpy(&counts, valid + r, sizeof counts);
      Attention::scores_backward<V>(
          a->source, [=](int64_t s) { return V::load(of_scores + s * rows + r); },
          [=](int64_t s) { return V::load(of_dscores + s * rows + r); },
          [=](int64_t s, V value) {
            if (masked) value = select(t->mask == nullptr ? counts : this->takes(s, r) & counts, value, splat<V>(0));
            value.store(of_dscores + s * rows + r);
          });
    }
    fill(of_dscores + a->source * rows, (places - a->source) * rows, T(0));
  }

  static void keep_valid(T* panel, int64_t numbers, const RowBits* valid) {
    for (int64_t r = 0; r < rows; r += width) {
      Mask<V> mask;
      __builtin_memcpy(&mask, valid + r, sizeof mask);
      for (int64_t k = 0; k < numbers; ++k)
        select(mask, V::load(panel + k * rows + r), splat<V>(0)).store(panel + k * rows + r);
    }
  }

  // Copies a panel of each head to its place among the kept steps, `block` numbers together.
  void record(T* panel, int64_t size, int64_t block, T* kept, const RowBits* valid) const {
    if (valid != nullptr) keep_valid(panel, a->heads * size, valid);
    const int64_t blocks = (size + block - 1) / block;
    for (int64_t part = 0; part < parts; ++part)
      for (int64_t head = 0; head < a->heads; ++head)
        for (int64_t k = 0; k < size; ++k) {
          const int64_t group = (part * a->heads + head) * blocks + k / block;
          T* const out = kept + ((group * gradient_steps + count) * block + k % block) * lanes;
          __builtin_memcpy(out, panel + (head * size + k) * rows + part * lanes, lanes * sizeof(T));
        }
  }

  // Adds what the kept steps give to the gradients of keys and values.
  void flush() {
    if (count > 0 || !flushed) {
      if (t->dvalues != nullptr) add(kept_probabilities, kept_dcontexts, a->value, t->dvalues);
      if (t->dkeys != nullptr && !a->additive) add(kept_dscores, kept_queries, a->key, t->dkeys);
      flushed = true;
    }
    count = 0;
  }
  void add(const T* over_places, const T* over_k, int64_t size, T* out) {
    const int64_t pairs = paired(size) / query_tile;
    for (int64_t part = 0; part < parts; ++part)
      for (int64_t head = 0; head < a->heads; ++head)
        for (int64_t p = 0; p < tiles; ++p) {
          const int64_t group = part * a->heads + head, of_tile = int64_t{U} * lanes, of_pair = query_tile * lanes;
          for (int64_t k = 0; k < pairs; ++k)
            Tiles::outer(count, over_places + (group * tiles + p) * gradient_steps * of_tile,
                         over_k + (group * pairs + k) * gradient_steps * of_pair, tile + k * query_tile * of_tile);
          write(part, head, p, size, tile, flushed, out);
        }
  }

  // A tile [k][place][lane] to (B,S,heads size), or added to it.
  void write(int64_t part, int64_t head, int64_t p, int64_t size, T* from, bool adds, T* out) const {
    const int64_t numbers = a->heads * size, used = this->used_lanes(part);
    for (int64_t u = 0; u < U && p * U + u < a->source; ++u) {
      const int64_t s = p * U + u;
      if (t->mask != nullptr)
        for (int64_t r = 0; r < lanes; r += width) {
          const Mask<V> takes = this->takes(s, part * lanes + r);
          T* place = from + u * lanes + r;
          for (int64_t k = 0; k < size; ++k, place += U * lanes)
            select(takes, V::load(place), splat<V>(0)).store(place);
        }
      T* const row = out + (this->source_row(part * lanes) + s) * numbers + head * size;
      if (adds)
        transpose<true>(from + u * lanes, U * lanes, size, used, row, a->source * numbers);
      else
        transpose(from + u * lanes, U * lanes, size, used, row, a->source * numbers);
    }
  }

  // partial: (heads key) sums over the rows of the panel, of an additive score's weights.
  void finish(T* partial) {
    flush();
    if (!a->additive) return;
    if (t->dkeys != nullptr)
      for (int64_t part = 0; part < parts; ++part)
        for (int64_t head = 0; head < a->heads; ++head)
          for (int64_t p = 0; p < tiles; ++p)
            write(part, head, p, a->key, this->laid_out(dkeys, a->key, part, head) + p * U * a->key * lanes, false,
                  t->dkeys);
    for (int64_t k = 0; k < a->query(); ++k) {
      partial[k] = 0;
      for (int64_t r = 0; r < rows_used; ++r) partial[k] = partial[k] + dscore_weight[k * rows + r];
    }
  }
};

}  // namespace mk::MK_ISA
