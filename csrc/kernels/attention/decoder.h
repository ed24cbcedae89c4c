// What attention adds to a step of a sequence forward (kernels/sequences/forward.h calls it), for one panel of rows.
#pragma once
#include "kernels/attention/core.h"
#include "kernels/attention/projections.h"
#include "kernels/sequences/shape.h"

namespace mk::MK_ISA {

// What both passes of a decoder know of their panel.
template <class T, int rows>
struct DecoderPanel {
  using RowBits = typename IntOf<T>::type;
  const SequenceShape* s;
  const AttentionTensors<T>* t;
  int64_t model, number, first_row, rows_used;

  void set(const SequenceShape& shape, const SequenceTensors<T>& tensors, int64_t of_model, int64_t of_panel) {
    s = &shape;
    t = tensors.attention;
    model = of_model;
    number = of_panel;
    first_row = of_panel * rows;
    rows_used = shape.batch - first_row < rows ? shape.batch - first_row : rows;
  }
  int64_t row(int64_t step) const { return (model * s->steps + step) * s->batch + first_row; }  // of (E,T,B)
  int64_t state_row() const { return model * s->batch + first_row; }                            // of (E,B)
  // Kept probabilities: (E,panels,T,heads,S,rows of the panel).
  int64_t kept_at(int64_t step) const {
    const int64_t of_row = s->attention.heads * s->attention.source;
    return (model * s->steps * s->batch + first_row * s->steps + step * rows_used) * of_row;
  }

  // A panel of `wide` numbers to a tensor (E,T,B,wide): zeros for rows that have ended, or for all without a panel.
  void write(T* tensor, const T* panel, int64_t wide, int64_t step, const RowBits* valid) const {
    if (tensor == nullptr) return;
    T* const out = tensor + row(step) * wide;
    if (panel == nullptr) return fill(out, rows_used * wide, T(0));
    from_panel(panel, rows, rows_used, wide, out, wide);
    if (valid == nullptr) return;
    for (int64_t r = 0; r < rows_used; ++r)
      if (valid[r] == 0) fill(out + r * wide, wide, T(0));
  }
  void read(const T* tensor, int64_t wide, int64_t step, T* panel) const {
    to_panel(tensor == nullptr ? nullptr : tensor + row(step) * wide, wide, rows_used, wide, panel, rows);
  }
};

template <class T, int rows>
struct DecoderForward : DecoderPanel<T, rows> {
  using Panel = DecoderPanel<T, rows>;
  using typename Panel::RowBits;
  using V = Pack<T>;
  using Projections = DecoderProjections<T, rows>;
  using Panel::s, Panel::t, Panel::rows_used;
  static constexpr int width = Number<V>::width;

  AttentionCore<T, rows> core;
  T *asked, *joined, *attentional;

  void take(const SequenceShape& shape, Arena& m) {
    const AttentionShape& a = shape.attention;
    core.take(a, m);
    constexpr int64_t padding = StepProjection<T, rows>::most_padding;
    asked = m.take<T>(a.projects ? (a.query() + padding) * rows : 0);
    joined = m.take<T>(a.attentional > 0 ? (a.context() + shape.hidden) * rows : 0);
    attentional = m.take<T>(a.attentional > 0 ? (a.attentional + padding) * rows : 0);
  }

  void start(const SequenceShape& shape, const SequenceTensors<T>& tensors, int64_t of_model, int64_t panel, T* fed) {
    this->set(shape, tensors, of_model, panel);
    core.start(s->attention, *t, s->batch, of_model, this->first_row);
    const T* const feed0 = t->feed0 == nullptr ? nullptr : t->feed0 + this->state_row() * s->fed;
    to_panel(feed0, s->fed, rows_used, s->fed, fed, rows);
  }

  void before_step(int64_t step, const T* h, T* fed, const RowBits* valid) {
    if (!s->attention.query_before) return;
    attend(step, h, valid);
    if (s->fed > 0) copy(core.context, s->fed, fed);
  }

  // h: null where no row takes the step.
  void after_step(int64_t step, const T* h, const T* fed_before, T* fed, const RowBits* valid) {
    const AttentionShape& a = s->attention;
    if (h == nullptr) {
      this->write(t->context, nullptr, a.context(), step, valid);
      this->write(t->attentional, nullptr, a.attentional, step, valid);
      this->write(t->query, nullptr, a.query(), step, valid);
      if (t->weights != nullptr) fill(t->weights + weights_at(step), rows_used * a.heads * a.source, T(0));
      return;
    }
    if (!a.query_before) attend(step, h, valid);
    if (a.attentional > 0) combine(step, h, valid);
    if (s->fed == 0 || a.query_before) return;
    const T* const next = a.feed == Feed::context ? core.context : attentional;
    if (valid == nullptr) return copy(next, s->fed, fed);
    for (int64_t r = 0; r < rows; r += width) {
      Mask<V> mask;
      __builtin_memcpy(&mask, valid + r, sizeof mask);
      for (int64_t k = r; k < s->fed * rows; k += rows)
        select(mask, V::load(next + k), V::load(fed_before + k)).store(fed + k);
    }
  }

  void finish(const T* fed) const {
    if (t->feed != nullptr) from_panel(fed, rows, rows_used, s->fed, t->feed + this->state_row() * s->fed, s->fed);
  }

  static void copy(const T* in, int64_t numbers, T* out) { __builtin_memcpy(out, in, numbers * rows * sizeof(T)); }
  int64_t weights_at(int64_t step) const { return this->row(step) * s->attention.heads * s->attention.source; }
  Projections projections() const { return Projections(s->attention, s->hidden); }
  T* packed() const { return t->packed + this->model * Projections::packed_numbers(s->attention, s->hidden); }

  void attend(int64_t step, const T* h, const RowBits* valid) {
    const AttentionShape& a = s->attention;
    if (a.projects) {
      const Projections all = projections();
      all.query.run(all.of_query(packed()), h, asked);
      this->write(t->query, asked, a.query(), step, valid);
    }
    core.attend(a.projects ? asked : h);
    this->write(t->context, core.context, a.context(), step, valid);
    if (t->kept != nullptr) core.keep(t->kept + this->kept_at(step));
    if (t->weights == nullptr) return;
    T* const out = t->weights + weights_at(step);
    core.write_weights(out, a.heads * a.source, a.source);
    for (int64_t r = 0; valid != nullptr && r < rows_used; ++r)
      if (valid[r] == 0) fill(out + r * a.heads * a.source, a.heads * a.source, T(0));
  }

  void combine(int64_t step, const T* h, const RowBits* valid) {
    const AttentionShape& a = s->attention;
    copy(core.context, a.context(), joined);
    copy(h, s->hidden, joined + a.context() * rows);
    const Projections all = projections();
    all.output.run(all.of_output(packed()), joined, attentional);
    for (int64_t k = 0; k < a.attentional * rows; k += width)
      gate_tanh(V::load(attentional + k)).store(attentional + k);
    this->write(t->attentional, attentional, a.attentional, step, valid);
  }
};

// Compiled once, in attention.cpp.
#define MK_DECODER(real, rows) extern template struct DecoderForward<real, rows>;
MK_FOR_EACH_PANEL_float(MK_DECODER) MK_FOR_EACH_PANEL_double(MK_DECODER)
#undef MK_DECODER

}  // namespace mk::MK_ISA
