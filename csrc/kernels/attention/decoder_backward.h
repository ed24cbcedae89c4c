// What attention adds to a step of a sequence backward (kernels/sequences/backward.h calls it), for one panel of rows.
#pragma once
#include "kernels/attention/core_backward.h"
#include "kernels/attention/decoder.h"

namespace mk::MK_ISA {

template <class T, int rows>
struct DecoderBackward : DecoderPanel<T, rows> {
  using Panel = DecoderPanel<T, rows>;
  using typename Panel::RowBits;
  using V = Pack<T>;
  using Projections = DecoderProjections<T, rows>;
  using Core = AttentionCoreBackward<T, rows>;
  using Panel::s, Panel::t, Panel::rows_used;
  static constexpr int width = Number<V>::width;

  Core core;
  T *asked, *kept_fed, *joined, *attentional, *doutput, *dh;
  const T *y, *h0;

  void take(const SequenceShape& shape, Arena& m) {
    const AttentionShape& a = shape.attention;
    core.take(a, m);
    constexpr int64_t padding = StepProjection<T, rows>::most_padding;
    const int64_t wide = a.attentional > 0 ? 1 : 0;
    asked = m.take<T>(a.query() * rows);
    kept_fed = m.take<T>(shape.fed * rows);
    joined = m.take<T>(wide * (a.context() + shape.hidden + padding) * rows);
    attentional = m.take<T>(wide * a.attentional * rows);
    doutput = m.take<T>(wide * a.attentional * rows);
    dh = m.take<T>(a.projects ? (shape.hidden + padding) * rows : 0);
  }

  // dfed: where the gradient of what was fed to the next step stands.
  void start(const SequenceShape& shape, const SequenceTensors<T>& tensors, int64_t of_model, int64_t panel, T* dfed) {
    this->set(shape, tensors, of_model, panel);
    y = tensors.saved_y;
    h0 = tensors.h0;
    core.start(s->attention, *t, s->batch, of_model, this->first_row);
    const T* const last = t->dfeed == nullptr ? nullptr : t->dfeed + this->state_row() * s->fed;
    to_panel(last, s->fed, rows_used, s->fed, dfed, rows);
  }

  // No row takes the step.
  void skip(int64_t step) const {
    this->write(t->dquery, nullptr, s->attention.query(), step, nullptr);
    this->write(t->doutput, nullptr, s->attention.attentional, step, nullptr);
  }

  // Adds to the gradient of h after the step what arrives through attention.
  void before_cell(int64_t step, T* dh_after, T* dfed, const RowBits* valid) {
    const AttentionShape& a = s->attention;
    const bool after = !a.query_before;
    this->read(t->dcontext, a.context(), step, core.dcontext);
    if (a.attentional > 0) this->read(t->dattentional, a.attentional, step, doutput);
    if (after && s->fed > 0) {
      T* const arriving = a.feed == Feed::context ? core.dcontext : doutput;
      for (int64_t k = 0; k < s->fed * rows; k += width) {
        const V gradient = V::load(dfed + k);
        gradient.store(kept_fed + k);
        (V::load(arriving + k) + gradient).store(arriving + k);
        splat<V>(0).store(dfed + k);
      }
    }
    if (a.attentional > 0) through_output(step, dh_after, valid);
    if (valid != nullptr) Core::keep_valid(core.dcontext, a.context(), valid);
    if (after) through_query(step, dh_after, valid);
  }

  // The products have added the gradients of h before the step and of what was fed into it.
  void after_products(int64_t step, T* dh_before, T* dfed, const RowBits* valid) {
    const AttentionShape& a = s->attention;
    if (!a.query_before) {  // rows that have ended keep what arrives for the step before
      if (valid == nullptr) return;
      for (int64_t r = 0; r < rows; r += width) {
        Mask<V> mask;
        __builtin_memcpy(&mask, valid + r, sizeof mask);
        for (int64_t k = r; k < s->fed * rows; k += rows)
          select(mask, V::load(dfed + k), V::load(kept_fed + k)).store(dfed + k);
      }
      return;
    }
    for (int64_t k = 0; k < s->fed * rows; k += width) {
      (V::load(core.dcontext + k) + V::load(dfed + k)).store(core.dcontext + k);
      splat<V>(0).store(dfed + k);
    }
    if (valid != nullptr) Core::keep_valid(core.dcontext, a.context(), valid);
    through_query(step, dh_before, valid);
  }

  void finish(const T* dfed) {
    const int64_t panels = (s->batch + rows - 1) / rows;
    core.finish(t->score_partial == nullptr
                    ? nullptr
                    : t->score_partial + (this->model * panels + this->number) * s->attention.query());
    if (t->dfeed0 != nullptr) from_panel(dfed, rows, rows_used, s->fed, t->dfeed0 + this->state_row() * s->fed, s->fed);
  }

  Projections projections() const { return Projections(s->attention, s->hidden); }
  T* packed() const { return t->packed + this->model * Projections::packed_numbers(s->attention, s->hidden); }

  void through_output(int64_t step, T* dh_after, const RowBits* valid) {
    const AttentionShape& a = s->attention;
    this->read(t->saved_attentional, a.attentional, step, attentional);
    for (int64_t k = 0; k < a.attentional * rows; k += width) {
      const V value = V::load(attentional + k);
      (V::load(doutput + k) * fma(-value, value, splat<V>(1))).store(doutput + k);
    }
    if (valid != nullptr) Core::keep_valid(doutput, a.attentional, valid);
    this->write(t->doutput, doutput, a.attentional, step, nullptr);
    const Projections all = projections();
    all.output_back.run(all.of_output(packed()), doutput, joined);
    add(joined, a.context(), core.dcontext);
    add(joined + a.context() * rows, s->hidden, dh_after, valid);
  }

  // From the gradient of the context to that of the state that asked.
  void through_query(int64_t step, T* dstate, const RowBits* valid) {
    const AttentionShape& a = s->attention;
    if (a.projects)
      this->read(t->saved_query, a.query(), step, asked);
    else if (!a.query_before)
      this->read(y, s->hidden, step, asked);
    else if (step > 0)
      this->read(y, s->hidden, step - 1, asked);
    else
      to_panel(h0 == nullptr ? nullptr : h0 + this->state_row() * s->hidden, s->hidden, rows_used, s->hidden, asked,
               rows);
    core.remember(t->saved_kept + this->kept_at(step));
    const int64_t of_row = a.heads * a.source;
    if (t->dweights != nullptr)
      for (int64_t head = 0; head < a.heads; ++head)
        to_panel(t->dweights + this->row(step) * of_row + head * a.source, of_row, rows_used, a.source,
                 core.dweights + head * core.places * rows, rows);
    core.backward(asked, valid, t->dweights != nullptr);
    if (!a.projects) return add(core.dquery, s->hidden, dstate, valid);
    this->write(t->dquery, core.dquery, a.query(), step, nullptr);
    const Projections all = projections();
    all.query_back.run(all.of_query(packed()), core.dquery, dh);
    add(dh, s->hidden, dstate, valid);
  }

  static void add(const T* in, int64_t numbers, T* out) {
    for (int64_t k = 0; k < numbers * rows; k += width) (V::load(out + k) + V::load(in + k)).store(out + k);
  }
  // Rows that have ended get nothing: 0 times a weight is not 0 for every weight.
  static void add(T* in, int64_t numbers, T* out, const RowBits* valid) {
    if (valid != nullptr) Core::keep_valid(in, numbers, valid);
    add(in, numbers, out);
  }
};

// Compiled once, in attention.cpp.
#define MK_DECODER(real, rows) extern template struct DecoderBackward<real, rows>;
MK_FOR_EACH_PANEL_float(MK_DECODER) MK_FOR_EACH_PANEL_double(MK_DECODER)
#undef MK_DECODER

}  // namespace mk::MK_ISA
