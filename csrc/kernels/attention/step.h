// Attention apart from a recurrence: a panel of rows with all its queries.
#pragma once
#include "common/denormals.h"
#include "kernels/attention/core_backward.h"

namespace mk::MK_ISA {

template <class T, int rows>
struct AttentionStep {
  static int64_t forward_scratch(const AttentionStepShape& s) { return Forward(s, nullptr).bytes; }
  static int64_t backward_scratch(const AttentionStepShape& s) { return Backward(s, nullptr).bytes; }

  struct Forward {
    AttentionCore<T, rows> core;
    T* asked;
    int64_t bytes;
    Forward(const AttentionStepShape& s, void* memory) {
      Arena m(memory);
      core.take(s.attention, m);
      asked = m.take<T>(s.attention.query() * rows);
      bytes = m.used();
    }
  };
  struct Backward {
    AttentionCoreBackward<T, rows> core;
    T* asked;
    int64_t bytes;
    Backward(const AttentionStepShape& s, void* memory) {
      Arena m(memory);
      core.take(s.attention, m);
      asked = m.take<T>(s.attention.query() * rows);
      bytes = m.used();
    }
  };

  // Where row 0 of the item, and a row after it, lie in tensors of `numbers` for each query.
  static int64_t first(const AttentionStepShape& s, int64_t item) {
    return item / s.panels * s.batch + item % s.panels * rows;
  }

  static void forward(const AttentionStepShape& s, const AttentionStepTensors<T>& t, int64_t item, void* scratch) {
    const AttentionShape& a = s.attention;
    Forward memory(s, scratch);
    AttentionCore<T, rows>& core = memory.core;
    core.start(a, t.attention, s.batch, item / s.panels, item % s.panels * rows);
    const int64_t row = first(s, item), used = core.rows_used, per_head = s.queries * a.source;
    for (int64_t q = 0; q < s.queries; ++q) {
      to_panel(t.query + (row * s.queries + q) * a.query(), s.queries * a.query(), used, a.query(), memory.asked, rows);
      core.attend(memory.asked);
      from_panel(core.context, rows, used, a.context(), t.context + (row * s.queries + q) * a.context(),
                 s.queries * a.context());
      if (t.weights != nullptr)
        core.write_weights(t.weights + row * a.heads * per_head + q * a.source, a.heads * per_head, per_head);
    }
  }

  static void backward(const AttentionStepShape& s, const AttentionStepTensors<T>& t, int64_t item, void* scratch) {
    const AttentionShape& a = s.attention;
    Backward memory(s, scratch);
    AttentionCoreBackward<T, rows>& core = memory.core;
    core.start(a, t.attention, s.batch, item / s.panels, item % s.panels * rows);
    const int64_t row = first(s, item), used = core.rows_used, per_head = s.queries * a.source;
    for (int64_t q = 0; q < s.queries; ++q) {
      const auto read = [&](const T* tensor, int64_t wide, T* panel) {
        to_panel(tensor == nullptr ? nullptr : tensor + (row * s.queries + q) * wide, s.queries * wide, used, wide,
                 panel, rows);
      };
      read(t.query, a.query(), memory.asked);
      read(t.dcontext, a.context(), core.dcontext);
      const int64_t place = row * a.heads * per_head + q * a.source;
      read_heads(a, t.saved_weights + place, per_head, used, core.places, core.scores);
      if (t.dweights != nullptr) read_heads(a, t.dweights + place, per_head, used, core.places, core.dweights);
      core.backward(memory.asked, nullptr, t.dweights != nullptr);
      if (t.dquery != nullptr)
        from_panel(core.dquery, rows, used, a.query(), t.dquery + (row * s.queries + q) * a.query(),
                   s.queries * a.query());
    }
    core.finish(t.attention.score_partial == nullptr ? nullptr : t.attention.score_partial + item * a.query());
  }

  static void read_heads(const AttentionShape& a, const T* in, int64_t head_step, int64_t used, int64_t places,
                         T* panel) {
    for (int64_t head = 0; head < a.heads; ++head, in += head_step, panel += places * rows) {
      to_panel(in, a.heads * head_step, used, a.source, panel, rows);
      fill(panel + a.source * rows, (places - a.source) * rows, T(0));
    }
  }
};

}  // namespace mk::MK_ISA
