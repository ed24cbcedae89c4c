#include "kernels/attention/decoder_backward.h"
#include "kernels/attention/rows_backward.h"

namespace mk::MK_ISA {
namespace {

template <class T>
constexpr AttentionKernels<T> attention_kernels = {AttentionRow<T>::forward, AttentionRowBackward<T>::backward,
                                                   AttentionRow<T>::forward_scratch, AttentionRow<T>::backward_scratch};

}  // namespace

#define MK_ATTENTION(real, ...)              \
  template struct DecoderForward<real, 16>;  \
  template struct DecoderForward<real, 32>;  \
  template struct DecoderBackward<real, 16>; \
  template struct DecoderBackward<real, 32>; \
  constexpr AttentionKernels<real> attention_##real = attention_kernels<real>;
MK_FOR_EACH_REAL(MK_ATTENTION, )
#undef MK_ATTENTION

}  // namespace mk::MK_ISA
