// The C-level interface of the kernels: shapes, layout, aliasing, memory and error bounds.  csrc/python binds it.
//
// Common to all.  Arrays are dense, row-major, of the dtype named by the call, and never alias.  Outputs are
// overwritten. Nothing here allocates, throws, prints or reads the environment; scratch memory is the caller's
// workspace, of which the kernel needs workspace(...) bytes at any alignment.  Work is divided by shape and never by
// `threads`, so a result has the same bits for any number of threads; a model's result does not depend on the other
// models of the call. Instruction sets with FMA agree bit for bit; the one without (generic on x86) agrees to a few
// ULP per operation. A size of 0 is allowed anywhere.  NaN and Inf in one model never reach another; in one row never
// another row's y, dx.
#pragma once
#include <cstdint>

#include "common/enumerations.h"

namespace mk {

struct LayerCall {
  LayerKind kind;
  Dtype dtype;
  bool training;   // NRU: tanh gate, else |w|.  NMRU: epsilon is added before the reciprocal, else not
  double epsilon;  // all but NAU, NMU, NRU, NAC and the NALU of NAU and NMU
  int64_t models, batch, in, out;
  int threads;
};

// y (E,B,O) of x (E,B,I), weight (E,O,P) and a gate for real_npu and npu, (E,I), and nmru_gated, (E,2I).  P counts the
// trained numbers of one output in the order of the cell, without these gates, which the outputs of a model share.
// Float error: that of the cell's own arithmetic (csrc/cells); functions are as csrc/common/math.h states.
int64_t layer_forward_workspace(const LayerCall& call);
void layer_forward(const LayerCall& call, const void* x, const void* weight, const void* gate, void* y,
                   void* workspace);

// From dy (E,B,O): dx, dweight and, where there is a gate, dgate, each in the shape of its tensor.  Weight gradients
// sum over the batch in blocks of rows: 32 columns within a block (csrc/common/lanes.h), then the blocks in their
// order.
int64_t layer_backward_workspace(const LayerCall& call);
void layer_backward(const LayerCall& call, const void* dy, const void* x, const void* weight, const void* gate,
                    void* dx, void* dweight, void* dgate, void* workspace);

// Units along a sequence: h_t = unit([l_t, h_{t-1}]).
struct RecurrentCall {
  RecurrentKind kind;
  Dtype dtype;
  double epsilon;  // all but NAC, NAU and NMU
  int64_t models, steps, batch;
  int threads;
};

// All states h (E,T,B) of l (E,T,B), weight (E,P) in the order of the cell, and the state before the first step (E,B).
// Float error: that of the cell's own arithmetic, carried along the sequence as the unit carries it.
void recurrent_forward(const RecurrentCall& call, const void* l, const void* weight, const void* initial, void* h);

// From dh (E,T,B) and the states of forward: dl, dweight, dinitial.  A sample's weight gradients sum over its steps,
// the last first, then over the samples as in a layer, in blocks of 128 rows.
int64_t recurrent_backward_workspace(const RecurrentCall& call);
void recurrent_backward(const RecurrentCall& call, const void* dh, const void* l, const void* weight,
                        const void* initial, const void* h, void* dl, void* dweight, void* dinitial, void* workspace);

// Attention to the S places of a source, by N heads; docs/attention.md has the equations.
struct AttentionShape {
  int64_t source, heads, key, value;  // places; key and value of one head
  int64_t attentional;                // size of the attentional state, 0 for none
  bool additive, projects, query_before;
  Feed feed;
  bool is_there() const { return heads > 0; }
  int64_t query() const { return heads * key; }
  int64_t context() const { return heads * value; }
  int64_t fed() const { return feed == Feed::context ? context() : feed == Feed::attentional ? attentional : 0; }
};

// Whole sequences of LSTM and GRU cells; G = 4 gates (i, f, g, o) or 3 (r, z, n), D = 1 or 2 directions of which the
// second runs from the last step to the first.  docs/sequences.md has the equations, the order of sums and the errors.
struct SequenceCall {
  SequenceKind kind;
  Dtype dtype;
  bool bfloat16;   // weights and what they meet in products are rounded to bfloat16; sums and states stay float32
  bool token_ids;  // x holds int64 in [0, I) in place of one-hot rows
  int64_t models, directions, steps, batch, inputs, hidden;  // inputs: with attention, of x and of what is fed with it
  int threads;
  AttentionShape attention;  // of a decoder, which has one direction
};

// x (E,T,B,I), with token ids (E,T,B); weight_ih (E,D,G*H,I), weight_hh (E,D,G*H,H); bias_ih, bias_hh (E,D,G*H), both
// or neither; h0, c0 (E,D,B,H), null for zeros, c0 of an LSTM only.  lengths (E,B) or null: row b takes its first
// lengths[b] steps, beyond which x is not looked at, y and cells are 0, and the second direction has not begun.
struct SequenceInputs {
  const void *x, *weight_ih, *weight_hh, *bias_ih, *bias_hh, *h0, *c0;
  const int64_t* lengths;
};

// y, cells (E,T,B,D*H), the first direction's units first; hn, cn (E,D,B,H), the states after a row's last step in
// its direction; gates, E*D*T*B*4*H numbers in an order of the kernel's own.  All but y may be null; backward needs y,
// gates and, of an LSTM, cells, and overwrites none of them.
struct SequenceOutputs {
  void *y, *hn, *cn, *gates, *cells;
};

// Of a decoder; C = N*R, F = what is fed.  keys (E,B,S,N*P), values (E,B,S,C); mask (E,B,S) of bytes, 0 where a place
// takes no part; weight_query (E,N*P,H), bias_query (E,N*P), weight_score (E,N*P), weight_output (E,A,C+H), bias_output
// (E,A), feed0 (E,B,F): null where absent.  Outputs: context (E,T,B,C), attentional (E,T,B,A), feed (E,B,F), weights
// (E,T,B,N,S), query (E,T,B,N*P) of a projection; kept, E*T*B*N*S numbers in an order of the kernel's own.  Gradients
// of those, null for zeros, and to the inputs, null where they are not wanted; dquery (E,T,B,N*P) and doutput
// (E,T,B,A) are those before the projection and before tanh, which are needed for the gradients of their weights.
struct DecoderTensors {
  const void *keys, *values, *mask, *weight_query, *bias_query, *weight_score, *weight_output, *bias_output, *feed0;
  double scale;
  void *context, *attentional, *feed, *weights, *kept, *query;
  const void *dcontext, *dattentional, *dfeed, *dweights;
  void *dkeys, *dvalues, *dfeed0, *dweight_score, *dquery, *doutput;
};

int64_t sequence_forward_workspace(const SequenceCall& call);
void sequence_forward(const SequenceCall& call, const SequenceInputs& in, const SequenceOutputs& out, void* workspace,
                      const DecoderTensors* decoder = nullptr);

// Gradients of y, hn, cn, cells, each null for zeros.
struct SequenceGradients {
  const void *dy, *dhn, *dcn, *dcells;
};
struct SequenceSaved {
  const void *y, *gates, *cells;
};
// In the shapes of the inputs, each null where it is not wanted; dx is null with token ids.
struct SequenceInputGradients {
  void *dx, *dweight_ih, *dweight_hh, *dbias_ih, *dbias_hh, *dh0, *dc0;
};

int64_t sequence_backward_workspace(const SequenceCall& call);
void sequence_backward(const SequenceCall& call, const SequenceGradients& gradients, const SequenceInputs& in,
                       const SequenceSaved& saved, const SequenceInputGradients& out, void* workspace,
                       const DecoderTensors* decoder = nullptr);

// Attention of Q queries of each row: query (E,B,Q,N*P), context (E,B,Q,C), weights (E,B,N,Q,S).  Of the shape only
// source, heads, key, value and additive are looked at.
struct AttentionCall {
  Dtype dtype;
  int64_t models, batch, queries;
  AttentionShape attention;
  int threads;
};
// rows (E,B), forward alone: which rows of keys, values and mask each row reads, of `sources` a model; may be null.
struct AttentionInputs {
  const void *query, *keys, *values, *mask, *weight_score;
  double scale;
  const int64_t* rows;
  int64_t sources;
};
// weights may be null in forward, dcontext and dweights in backward for zeros, and every gradient that is not wanted.
struct AttentionGradients {
  const void *dcontext, *dweights, *weights;
  void *dquery, *dkeys, *dvalues, *dweight_score;
};
int64_t attention_forward_workspace(const AttentionCall& call);
void attention_forward(const AttentionCall& call, const AttentionInputs& in, void* context, void* weights,
                       void* workspace);
int64_t attention_backward_workspace(const AttentionCall& call);
void attention_backward(const AttentionCall& call, const AttentionInputs& in, const AttentionGradients& gradients,
                        void* workspace);

// y = 1/x where |x| >= 1/limit, else limit with the sign of x (that of 0 is +); dx = -dy/x^2, else 0.  count numbers
// each.
void clipped_reciprocal_forward(Dtype dtype, int64_t count, double limit, const void* x, void* y, int threads);
void clipped_reciprocal_backward(Dtype dtype, int64_t count, double limit, const void* dy, const void* x, void* dx,
                                 int threads);

// y (E): the mean over a model's `count` weights (E,count) of the penalty `kind` of csrc/cells/penalty.h (1 unit,
// 2 ternary, 3 signed_unit); NaN if count is 0.  dweight (E,count) from dy (E).
int64_t discretisation_workspace(Dtype dtype, int64_t models, int64_t count);
void discretisation_forward(Dtype dtype, int kind, int64_t models, int64_t count, const void* weight, void* y,
                            void* workspace, int threads);
void discretisation_backward(Dtype dtype, int kind, int64_t models, int64_t count, const void* dy, const void* weight,
                             void* dweight, int threads);

// y = f(x) or f(x, w) by the functions of csrc/common/math.h and csrc/cells/gates.h, for tests of their error: of two
// gates under one division y is that of x, and w meets the other.  count numbers each.
void elementary(Dtype dtype, Elementary function, int64_t count, const void* x, const void* w, void* y);

}  // namespace mk
