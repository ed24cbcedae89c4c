#include "kernels/attention/decoder_backward.h"
#include "kernels/attention/step.h"

namespace mk::MK_ISA {
namespace {

template <class T>
struct Attentions {
  static void forward(const AttentionStepShape& s, const AttentionStepTensors<T>& t, int64_t item, void* scratch) {
    if (s.panel_rows == 16)
      AttentionStep<T, 16>::forward(s, t, item, scratch);
    else
      AttentionStep<T, 32>::forward(s, t, item, scratch);
  }
  static void backward(const AttentionStepShape& s, const AttentionStepTensors<T>& t, int64_t item, void* scratch) {
    if (s.panel_rows == 16)
      AttentionStep<T, 16>::backward(s, t, item, scratch);
    else
      AttentionStep<T, 32>::backward(s, t, item, scratch);
  }
  static int64_t forward_scratch(const AttentionStepShape& s) {
    return s.panel_rows == 16 ? AttentionStep<T, 16>::forward_scratch(s) : AttentionStep<T, 32>::forward_scratch(s);
  }
  static int64_t backward_scratch(const AttentionStepShape& s) {
    return s.panel_rows == 16 ? AttentionStep<T, 16>::backward_scratch(s) : AttentionStep<T, 32>::backward_scratch(s);
  }
  static constexpr AttentionKernels<T> kernels = {forward, backward, forward_scratch, backward_scratch};
};

}  // namespace

template struct DecoderForward<float, 16>;
template struct DecoderForward<float, 32>;
template struct DecoderForward<double, 16>;
template struct DecoderForward<double, 32>;
template struct DecoderBackward<float, 16>;
template struct DecoderBackward<float, 32>;
template struct DecoderBackward<double, 16>;
template struct DecoderBackward<double, 32>;

constexpr AttentionKernels<float> attention_float = Attentions<float>::kernels;
constexpr AttentionKernels<double> attention_double = Attentions<double>::kernels;

}  // namespace mk::MK_ISA
