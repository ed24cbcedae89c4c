// attention_forward and attention_backward of mathkernels.h: divides the work by shape and hands it to threads.
#include "common/arena.h"
#include "common/parallel.h"
#include "kernels/attention/shape.h"
#include "kernels/attention/sums.h"
#include "kernels/call.h"
#include "mathkernels.h"

namespace mk {
namespace {

constexpr double worth_threads = 65536;  // multiply-adds; a call with fewer costs less than starting a team

AttentionStepShape shape_of(const AttentionCall& call) {
  return {call.attention, call.models, call.batch, call.queries};
}

int team(const AttentionCall& call) {
  const AttentionShape& a = call.attention;
  const double rows = static_cast<double>(call.models) * static_cast<double>(call.batch);
  const double work =
      rows * static_cast<double>(call.queries) * static_cast<double>(a.source * (a.query() + a.context()));
  return work < worth_threads || call.threads < 1 ? 1 : call.threads;
}
int64_t workers(const AttentionCall& call, const AttentionStepShape& s) {
  const int64_t items = s.models * s.batch, threads = team(call);
  return items < threads ? items : threads;
}

template <class T>
AttentionStepTensors<T> tensors_of(const AttentionInputs& in) {
  AttentionStepTensors<T> t{};
  t.query = static_cast<const T*>(in.query);
  t.attention.keys = static_cast<const T*>(in.keys);
  t.attention.values = static_cast<const T*>(in.values);
  t.attention.mask = static_cast<const uint8_t*>(in.mask);
  t.attention.weight_score = static_cast<const T*>(in.weight_score);
  t.attention.scale = static_cast<T>(in.scale);
  t.rows = in.rows, t.sources = in.sources;
  return t;
}

template <class T>
int64_t partial_bytes(const AttentionStepShape& s) {
  const AttentionShape& a = s.attention;
  return a.additive ? rounded_up(s.models * s.batch * a.query() * int64_t{sizeof(T)}, alignment) : 0;
}

}  // namespace

int64_t attention_forward_workspace(const AttentionCall& call) {
  return with_type(call.dtype, [&](auto zero) {
    const AttentionStepShape shape = shape_of(call);
    return alignment +
           workers(call, shape) * kernels<decltype(zero)>(instruction_set()).attention->forward_scratch(shape);
  });
}

void attention_forward(const AttentionCall& call, const AttentionInputs& in, void* context, void* weights,
                       void* workspace) {
  with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const AttentionKernels<T>& attention = *kernels<T>(instruction_set()).attention;
    const AttentionStepShape shape = shape_of(call);
    AttentionStepTensors<T> tensors = tensors_of<T>(in);
    tensors.context = static_cast<T*>(context);
    tensors.weights = static_cast<T*>(weights);
    const int64_t bytes = attention.forward_scratch(shape);
    Arena memory(workspace);
    char* const scratch = memory.take<char>(workers(call, shape) * bytes);
    parallel_for(shape.models * shape.batch, team(call),
                 [&](int worker, int64_t item) { attention.forward(shape, tensors, item, scratch + worker * bytes); });
  });
}

int64_t attention_backward_workspace(const AttentionCall& call) {
  return with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const AttentionStepShape shape = shape_of(call);
    return alignment + partial_bytes<T>(shape) +
           workers(call, shape) * kernels<T>(instruction_set()).attention->backward_scratch(shape);
  });
}

void attention_backward(const AttentionCall& call, const AttentionInputs& in, const AttentionGradients& gradients,
                        void* workspace) {
  with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const AttentionKernels<T>& attention = *kernels<T>(instruction_set()).attention;
    const AttentionStepShape shape = shape_of(call);
    AttentionStepTensors<T> tensors = tensors_of<T>(in);
    tensors.dcontext = static_cast<const T*>(gradients.dcontext);
    tensors.dweights = static_cast<const T*>(gradients.dweights);
    tensors.saved_weights = static_cast<const T*>(gradients.weights);
    tensors.dquery = static_cast<T*>(gradients.dquery);
    tensors.attention.dkeys = static_cast<T*>(gradients.dkeys);
    tensors.attention.dvalues = static_cast<T*>(gradients.dvalues);
    Arena memory(workspace);
    T* const partial = memory.take<T>(partial_bytes<T>(shape), 1);
    tensors.attention.score_partial = shape.attention.additive ? partial : nullptr;  // no bytes have an address, too
    const int64_t bytes = attention.backward_scratch(shape);
    char* const scratch = memory.take<char>(workers(call, shape) * bytes);
    parallel_for(shape.models * shape.batch, team(call),
                 [&](int worker, int64_t item) { attention.backward(shape, tensors, item, scratch + worker * bytes); });
    if (gradients.dweight_score != nullptr)
      add_panels(shape.models, shape.batch, shape.attention.query(), tensors.attention.score_partial,
                 static_cast<T*>(gradients.dweight_score));
  });
}

}  // namespace mk
