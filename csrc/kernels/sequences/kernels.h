// What a cell of sequences provides to the table: its items, for both sizes of panels.
#pragma once
#include <type_traits>

#include "kernels/sequences/backward.h"
#include "kernels/sequences/finish.h"
#include "kernels/sequences/forward.h"
#include "kernels/sequences/small_batch_backward.h"
#include "kernels/sequences/small_batch_forward.h"
#include "kernels/table.h"

namespace mk::MK_ISA {

template <class Cell, class T>
struct Sequence {
  // work(std::integral_constant<int, rows>) for the panels of this shape.
  template <class Work>
  static auto with_panels(const SequenceShape& s, const Work& work) {
    if (s.panel_rows == 16) return work(std::integral_constant<int, 16>());
    return work(std::integral_constant<int, large_panel<T>>());
  }
  template <template <class, class, int> class Loop>
  static void run(const SequenceShape& s, const SequenceTensors<T>& t, int64_t item, void* scratch) {
    with_panels(s, [&](auto rows) { Loop<Cell, T, rows>::run(s, t, item, scratch); });
  }
  template <template <class, class, int> class Loop>
  static int64_t scratch_of(const SequenceShape& s) {
    return with_panels(s, [&](auto rows) { return Loop<Cell, T, rows>::scratch(s); });
  }
  static void pack_forward_item(const SequenceShape& s, const SequenceTensors<T>& t, int64_t item, void* scratch) {
    pack_attention(s, t, item, false);
    with_panels(s, [&](auto rows) { pack_forward<Cell, T, rows>(s, t, item, scratch); });
  }
  static void pack_backward_item(const SequenceShape& s, const SequenceTensors<T>& t, int64_t item, void* scratch) {
    pack_attention(s, t, item, true);
    with_panels(s, [&](auto rows) { BackwardProducts<Cell, T, rows>::pack(s, t, item, scratch); });
  }
  static void pack_attention(const SequenceShape& s, const SequenceTensors<T>& t, int64_t item, bool backward) {
    if (!s.attention.is_there() || item % pack_pieces != 0) return;
    with_panels(s, [&](auto rows) {
      DecoderProjections<T, rows>(s.attention, s.hidden).pack(*t.attention, item / pack_pieces, backward);
    });
  }
  static int64_t packed_forward(const SequenceShape& s) { return packed_forward_numbers<Cell>(s); }
  static int64_t packed_backward(const SequenceShape& s) { return BackwardProducts<Cell, T, 16>::packed_numbers(s); }
  static int64_t packed_attention(const SequenceShape& s) {
    return s.attention.is_there() ? DecoderProjections<T, 16>::packed_numbers(s.attention, s.hidden) : 0;
  }
  static int64_t partial(const SequenceShape& s) { return WeightGradients<Cell, T, 16>::partial(s); }
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
                                                 scratch_of<SequenceForward>,
                                                 scratch_of<SequenceBackward>,
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
