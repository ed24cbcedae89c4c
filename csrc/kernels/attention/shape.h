// Attention to a source: sizes and memory.  Plain data only, as kernels/table.h.
//
// Lanes are rows of the batch here too.  A panel's keys and values are laid out once per call, in the order in which
// the steps read them, and stay in the cache while the panel goes through its steps.
#pragma once
#include <cstdint>

#include "mathkernels.h"

namespace mk {

constexpr int64_t gradient_steps = 32;  // steps whose gradients of keys and values are made together

// Addresses of whole tensors, null where absent; see mathkernels.h.
template <class T>
struct AttentionTensors {
  const T *keys, *values, *weight_query, *bias_query, *weight_score, *weight_output, *bias_output, *feed0;
  const uint8_t* mask;
  T scale;
  T *context, *attentional, *feed, *weights, *kept, *query;
  const T *dcontext, *dattentional, *dfeed, *dweights;
  const T *saved_context, *saved_attentional, *saved_kept, *saved_query;
  T *dkeys, *dvalues, *dfeed0, *dweight_score, *dquery, *doutput;
  T* packed;         // projections as the products read them, of each model
  T* score_partial;  // (E, panels or rows, heads key): their sums
};

// Queries apart from a recurrence, of sizes (E,B,Q,…).
template <class T>
struct AttentionStepTensors {
  AttentionTensors<T> attention;
  const int64_t* rows;  // (E,B): rows of keys, values and mask, of `sources` of a model; null where all stand in order
  int64_t sources;
  const T *query, *dcontext, *dweights, *saved_weights;
  T *context, *weights, *dquery;
};
struct AttentionStepShape {
  AttentionShape attention;
  int64_t models, batch, queries;
};

// An item is a row of a model, models slowest; scratch in bytes.
template <class T>
using AttentionItem = void(const AttentionStepShape&, const AttentionStepTensors<T>&, int64_t item, void* scratch);
template <class T>
struct AttentionKernels {
  AttentionItem<T>*forward, *backward;
  int64_t (*forward_scratch)(const AttentionStepShape&);  // of a thread
  int64_t (*backward_scratch)(const AttentionStepShape&);
};

}  // namespace mk
