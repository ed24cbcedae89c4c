#include "kernels/attention/decoder_backward.h"
#include "kernels/attention/rows_backward.h"

namespace mk::MK_ISA {
namespace {

template <class T>
constexpr AttentionKernels<T> attention_kernels = {AttentionRow<T>::forward, AttentionRowBackward<T>::backward,
                                                   AttentionRow<T>::forward_scratch, AttentionRow<T>::backward_scratch};

}  // namespace

#define MK_DECODERS(real, rows)               \
  template struct DecoderForward<real, rows>; \
  template struct DecoderBackward<real, rows>;
#define MK_ATTENTION(real, ...)          \
  MK_FOR_EACH_PANEL_##real(MK_DECODERS); \
  constexpr AttentionKernels<real> attention_##real = attention_kernels<real>;
MK_FOR_EACH_REAL(MK_ATTENTION, )
#undef MK_ATTENTION
#undef MK_DECODERS

}  // namespace mk::MK_ISA
