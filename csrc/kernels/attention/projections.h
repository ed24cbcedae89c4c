// The projections of a decoder's step, laid out once per call: of the query, and of [context; h] to the attentional
// state; forward, and transposed for backward.
#pragma once
#include "common/arena.h"
#include "kernels/attention/linear.h"
#include "kernels/attention/shape.h"

namespace mk::MK_ISA {

template <class T, int rows>
struct DecoderProjections {
  const AttentionShape& a;
  const int64_t hidden, joined;  // numbers of [context; h]
  const StepProjection<T, rows> query, output, query_back, output_back;

  DecoderProjections(const AttentionShape& shape, int64_t of_hidden)
      : a(shape),
        hidden(of_hidden),
        joined(shape.context() + of_hidden),
        query(shape.query(), of_hidden),
        output(shape.attentional, joined),
        query_back(of_hidden, shape.query()),
        output_back(joined, shape.attentional) {}

  // Numbers of a model, the same for forward and backward and on every machine.
  static int64_t packed_numbers(const AttentionShape& a, int64_t hidden) {
    using P = StepProjection<T, rows>;
    const int64_t joined = a.context() + hidden;
    const int64_t forward = P::most_packed(a.query(), hidden), backward = P::most_packed(hidden, a.query());
    const int64_t out = P::most_packed(a.attentional, joined), out_back = P::most_packed(joined, a.attentional);
    return rounded_up((a.projects ? larger(forward, backward) : 0) + (a.attentional > 0 ? larger(out, out_back) : 0),
                      16);
  }
  static int64_t larger(int64_t one, int64_t other) { return one > other ? one : other; }

  T* of_query(T* packed) const { return packed; }
  T* of_output(T* packed) const {
    using P = StepProjection<T, rows>;
    return packed + (a.projects ? larger(P::most_packed(a.query(), hidden), P::most_packed(hidden, a.query())) : 0);
  }

  void pack(const AttentionTensors<T>& t, int64_t model, bool backward) const {
    T* const packed = t.packed + model * packed_numbers(a, hidden);
    const auto none = [](int64_t) { return T(0); };
    if (a.projects) {
      const T* const w = t.weight_query + model * a.query() * hidden;
      const T* const b = t.bias_query == nullptr ? nullptr : t.bias_query + model * a.query();
      if (backward)
        query_back.pack([&](int64_t u, int64_t k) { return w[k * hidden + u]; }, none, of_query(packed));
      else
        query.pack([&](int64_t u, int64_t k) { return w[u * hidden + k]; },
                   [&](int64_t u) { return b == nullptr ? T(0) : b[u]; }, of_query(packed));
    }
    if (a.attentional == 0) return;
    const T* const w = t.weight_output + model * a.attentional * joined;
    const T* const b = t.bias_output == nullptr ? nullptr : t.bias_output + model * a.attentional;
    if (backward)
      output_back.pack([&](int64_t u, int64_t k) { return w[k * joined + u]; }, none, of_output(packed));
    else
      output.pack([&](int64_t u, int64_t k) { return w[u * joined + k]; },
                  [&](int64_t u) { return b == nullptr ? T(0) : b[u]; }, of_output(packed));
  }
};

}  // namespace mk::MK_ISA
