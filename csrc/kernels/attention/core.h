// Attention of a panel of rows: its keys and values laid out once, then one query of every row after another.
#pragma once
#include "cells/attention.h"
#include "common/arena.h"
#include "kernels/attention/shape.h"
#include "kernels/attention/tiles.h"
#include "kernels/sequences/rows.h"

namespace mk::MK_ISA {

constexpr int64_t widest_tile = 8;  // of place_tile: sizes of memory do not depend on the instruction set
MK_INLINE int64_t padded_places(const AttentionShape& a) { return rounded_up(a.source, widest_tile); }

// Panels are [number][rows]; of each head after the other.
template <class T, int rows>
struct AttentionCore {
  using V = Pack<T>;
  using Tiles = Places<T, rows>;
  using RowBits = typename IntOf<T>::type;
  static constexpr int width = Number<V>::width, lanes = Tiles::lanes, parts = Tiles::parts, U = Tiles::U;

  const AttentionShape* a;
  const AttentionTensors<T>* t;
  int64_t batch, model, first_row, rows_used;
  int64_t places, tiles;  // padded to whole tiles
  T *keys, *values;       // [part][head][tile][k][place][lane]
  T *query, *scores, *context;
  RowBits* allowed;  // [place][rows]: which places take part; without a mask those of the source do

  void take(const AttentionShape& shape, Arena& m) {
    keys = m.take<T>(padded_places(shape) * shape.query() * rows);
    values = m.take<T>(padded_places(shape) * shape.context() * rows);
    query = m.take<T>(shape.query() * rows);
    scores = m.take<T>(padded_places(shape) * shape.heads * rows);
    context = m.take<T>(shape.context() * rows);
    allowed = m.take<RowBits>(padded_places(shape) * rows);
  }

  void start(const AttentionShape& shape, const AttentionTensors<T>& tensors, int64_t of_batch, int64_t of_model,
             int64_t first) {
    a = &shape;
    t = &tensors;
    batch = of_batch;
    model = of_model;
    first_row = first;
    rows_used = batch - first < rows ? batch - first : rows;
    places = Tiles::padded(a->source);
    tiles = Tiles::tiles(a->source);
    if (t->mask != nullptr)
      for (int64_t s = 0; s < places; ++s)
        for (int64_t r = 0; r < rows; ++r)
          allowed[s * rows + r] = s < a->source && r < rows_used && t->mask[source_row(r) + s] != 0 ? -1 : 0;
    lay_out(t->keys, a->key, keys);
    lay_out(t->values, a->value, values);
  }

  int64_t source_row(int64_t row) const { return (model * batch + first_row + row) * a->source; }
  int64_t used_lanes(int64_t part) const {
    const int64_t left = rows_used - part * lanes;
    return left < 0 ? 0 : left < lanes ? left : lanes;
  }
  T* laid_out(T* all, int64_t size, int64_t part, int64_t head) const {
    return all + (part * a->heads + head) * places * size * lanes;
  }
  T* of_head(T* panel, int64_t size, int64_t head) const { return panel + head * size * rows; }

  // From (B,S,heads size).  What stands at places that take no part is read as 0: it may be anything.
  void lay_out(const T* tensor, int64_t size, T* all) const {
    for (int64_t part = 0; part < parts; ++part)
      for (int64_t head = 0; head < a->heads; ++head) {
        T* const out = laid_out(all, size, part, head);
        const int64_t used = used_lanes(part), numbers = a->heads * size;
        if (used < lanes || a->source < places || t->mask != nullptr) fill(out, places * size * lanes, T(0));
        for (int64_t s = 0; s < a->source; ++s) {
          T* const place = out + (s / U * size * U + s % U) * lanes;
          const T* const in = tensor + (source_row(part * lanes) + s) * numbers + head * size;
          if (t->mask == nullptr) {
            transpose(in, a->source * numbers, used, size, place, U * lanes);
            continue;
          }
          for (int64_t r = 0; r < used; ++r)
            if (allowed[s * rows + part * lanes + r] != 0)
              transpose(in + r * a->source * numbers, numbers, 1, size, place + r, U * lanes);
        }
      }
  }

  MK_INLINE Mask<V> takes(int64_t s, int64_t r) const {
    Mask<V> mask;
    __builtin_memcpy(&mask, allowed + s * rows + r, sizeof mask);
    return mask;
  }

  // From `asked` [heads key] to probabilities in `scores` and the context.
  void attend(const T* asked) {
    const V scale = splat<V>(t->scale);
    for (int64_t k = 0; k < a->query() * rows; k += width) (V::load(asked + k) * scale).store(query + k);
    for (int64_t head = 0; head < a->heads; ++head) {
      T* const of_scores = of_head(scores, places, head);
      for (int64_t part = 0; part < parts; ++part) {
        const T* const m = laid_out(keys, a->key, part, head);
        const T* const q = of_head(query, a->key, head) + part * lanes;
        if (a->additive)
          Tiles::additive(tiles, a->key, m, q, score_weight(head), of_scores + part * lanes);
        else
          Tiles::dots(tiles, a->key, m, q, of_scores + part * lanes);
      }
      if (t->mask != nullptr)
        normalise<true>(of_scores);
      else
        normalise<false>(of_scores);
      for (int64_t part = 0; part < parts; ++part)
        Tiles::mix(tiles, a->value, laid_out(values, a->value, part, head), of_scores + part * lanes,
                   of_head(context, a->value, head) + part * lanes);
    }
  }
  const T* score_weight(int64_t head) const { return t->weight_score + model * a->query() + head * a->key; }

  template <bool masked>
  MK_NOINLINE void normalise(T* of_scores) const {
    for (int64_t r = 0; r < rows; r += width)
      Attention::probabilities<V>(
          a->source, [=](int64_t s) { return V::load(of_scores + s * rows + r); },
          [=](int64_t s) {
            if constexpr (masked)
              return takes(s, r);
            else
              return splat<V>(0) == splat<V>(0);
          },
          [=](int64_t s, V value) { value.store(of_scores + s * rows + r); });
    fill(of_scores + a->source * rows, (places - a->source) * rows, T(0));
  }

  // Probabilities between `scores` and where they are kept: [head][place][row] of the used rows.
  int64_t kept_numbers() const { return a->heads * a->source * rows_used; }
  void keep(T* kept) const {
    for (int64_t head = 0; head < a->heads; ++head)
      for (int64_t s = 0; s < a->source; ++s, kept += rows_used)
        for (int64_t r = 0; r < rows_used; r += width)
          store_part(V::load(scores + (head * places + s) * rows + r), kept + r, rows_used - r);
  }
  void remember(const T* kept) {
    for (int64_t head = 0; head < a->heads; ++head) {
      T* const of_scores = of_head(scores, places, head);
      for (int64_t s = 0; s < a->source; ++s, kept += rows_used)
        for (int64_t r = 0; r < rows; r += width) load_part<V>(kept + r, rows_used - r).store(of_scores + s * rows + r);
      fill(of_scores + a->source * rows, (places - a->source) * rows, T(0));
    }
  }
  // To or from rows of heads * places numbers of the caller's.
  void write_weights(T* out, int64_t out_step, int64_t head_step) const {
    for (int64_t head = 0; head < a->heads; ++head)
      from_panel(scores + head * places * rows, rows, rows_used, a->source, out + head * head_step, out_step);
  }
};

}  // namespace mk::MK_ISA
