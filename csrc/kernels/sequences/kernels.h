// What a cell of sequences provides to the table: its items, for panels of 16 and of 32 rows.
#pragma once
#include "kernels/sequences/backward.h"
#include "kernels/sequences/finish.h"
#include "kernels/sequences/forward.h"
#include "kernels/sequences/small_batch_backward.h"
#include "kernels/sequences/small_batch_forward.h"
#include "kernels/table.h"

namespace mk::MK_ISA {

template <class Cell, class T>
struct Sequence {
  template <template <class, class, int> class Loop>
  static void run(const SequenceShape& s, const SequenceTensors<T>& t, int64_t item, void* scratch) {
    if (s.panel_rows == 16)
      Loop<Cell, T, 16>::run(s, t, item, scratch);
    else
      Loop<Cell, T, 32>::run(s, t, item, scratch);
  }
  static void pack_forward_item(const SequenceShape& s, const SequenceTensors<T>& t, int64_t item, void* scratch) {
    pack_attention(s, t, item, false);
    if (s.panel_rows == 16)
      pack_forward<Cell, T, 16>(s, t, item, scratch);
    else
      pack_forward<Cell, T, 32>(s, t, item, scratch);
  }
  static void pack_attention(const SequenceShape& s, const SequenceTensors<T>& t, int64_t item, bool backward) {
    if (!s.attention.is_there() || item % pack_pieces != 0) return;
    if (s.panel_rows == 16)
      DecoderProjections<T, 16>(s.attention, s.hidden).pack(*t.attention, item / pack_pieces, backward);
    else
      DecoderProjections<T, 32>(s.attention, s.hidden).pack(*t.attention, item / pack_pieces, backward);
  }
  static void pack_backward_item(const SequenceShape& s, const SequenceTensors<T>& t, int64_t item, void* scratch) {
    pack_attention(s, t, item, true);
    if (s.panel_rows == 16)
      BackwardProducts<Cell, T, 16>::pack(s, t, item, scratch);
    else
      BackwardProducts<Cell, T, 32>::pack(s, t, item, scratch);
  }
  static int64_t packed_forward(const SequenceShape& s) { return packed_forward_numbers<Cell>(s); }
  static int64_t packed_backward(const SequenceShape& s) { return BackwardProducts<Cell, T, 16>::packed_numbers(s); }
  static int64_t packed_attention(const SequenceShape& s) {
    return s.attention.is_there() ? DecoderProjections<T, 16>::packed_numbers(s.attention, s.hidden) : 0;
  }
  static int64_t partial(const SequenceShape& s) { return WeightGradients<Cell, T, 16>::partial(s); }
  static int64_t forward_scratch(const SequenceShape& s) {
    return s.panel_rows == 16 ? SequenceForward<Cell, T, 16>::scratch(s) : SequenceForward<Cell, T, 32>::scratch(s);
  }
  static int64_t backward_scratch(const SequenceShape& s) {
    return s.panel_rows == 16 ? SequenceBackward<Cell, T, 16>::scratch(s) : SequenceBackward<Cell, T, 32>::scratch(s);
  }
  template <class Loop>
  static SequenceMemory small_batch_memory(const SequenceShape& s) {
    return {typename Loop::Shared(s, nullptr).bytes, typename Loop::Own(s, nullptr).bytes};
  }

  static constexpr SequenceKernels<T> kernels = {pack_forward_item,
                                                 run<SequenceForward>,
                                                 pack_backward_item,
                                                 run<SequenceBackward>,
                                                 SequenceFinish<Cell, T>::run,
                                                 packed_forward,
                                                 packed_backward,
                                                 packed_attention,
                                                 partial,
                                                 forward_scratch,
                                                 backward_scratch,
                                                 SmallBatchForward<Cell, T>::run,
                                                 SmallBatchBackward<Cell, T>::run,
                                                 small_batch_memory<SmallBatchForward<Cell, T>>,
                                                 small_batch_memory<SmallBatchBackward<Cell, T>>};
};

// The kernels of a cell by its name in MK_SEQUENCE_KINDS.
#define MK_DEFINE_SEQUENCE(real, name, Cell) \
  constexpr SequenceKernels<real> name##_##real = Sequence<Cell, real>::kernels;
#define MK_SEQUENCE(name, Cell) MK_FOR_EACH_REAL(MK_DEFINE_SEQUENCE, name, Cell)

}  // namespace mk::MK_ISA
