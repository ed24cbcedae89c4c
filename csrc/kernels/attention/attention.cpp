#include "kernels/attention/decoder_backward.h"
#include "kernels/attention/rows_backward.h"

namespace mk::MK_ISA {
namespace {

template <class T>
constexpr AttentionKernels<T> attention_kernels = {AttentionRow<T>::forward, AttentionRowBackward<T>::backward,
                                                   AttentionRow<T>::forward_scratch, AttentionRow<T>::backward_scratch};

}  // namespace

template struct DecoderForward<float, 16>;
template struct DecoderForward<float, 32>;
template struct DecoderForward<double, 16>;
template struct DecoderForward<double, 32>;
template struct DecoderBackward<float, 16>;
template struct DecoderBackward<float, 32>;
template struct DecoderBackward<double, 16>;
template struct DecoderBackward<double, 32>;

constexpr AttentionKernels<float> attention_float = attention_kernels<float>;
constexpr AttentionKernels<double> attention_double = attention_kernels<double>;

}  // namespace mk::MK_ISA
