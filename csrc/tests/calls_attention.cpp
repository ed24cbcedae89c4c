// Attention, apart and within decoders, with everything that may be absent there or not.
#include "mathkernels.h"
#include "tests/calls.h"

namespace mk {
namespace {

AttentionShape drawn_shape(Draw& draw) {
  AttentionShape a{};
  a.source = draw.from(0, 20), a.heads = draw.from(1, 3), a.key = draw.from(1, 9), a.value = draw.from(1, 20);
  a.additive = draw.coin();
  return a;
}

template <class T>
uint64_t step(Draw& draw, int threads, Dtype dtype) {
  Arrays arrays(draw);
  AttentionCall call{dtype, draw.from(0, 2), draw.from(0, 20), draw.from(0, 7), drawn_shape(draw), threads};
  const AttentionShape& a = call.attention;
  const int64_t rows = call.models * call.batch, keys = rows * a.source * a.query();
  const int64_t values = rows * a.source * a.context(), weights = rows * a.heads * call.queries * a.source;
  const int64_t queries = rows * call.queries * a.query(), contexts = rows * call.queries * a.context();
  AttentionInputs in{};
  in.query = arrays.uniform<T>(queries, -1, 1), in.keys = arrays.uniform<T>(keys, -1, 1);
  in.values = arrays.uniform<T>(values, -1, 1), in.scale = 1;
  if (draw.coin()) in.mask = arrays.whole<uint8_t>(rows * a.source, 0, 1);
  if (a.additive) in.weight_score = arrays.uniform<T>(call.models * a.query(), -1, 1);
  T* const kept = arrays.output<T>(weights);
  attention_forward(call, in, arrays.output<T>(contexts), kept, arrays.workspace(attention_forward_workspace(call)));
  if (rows > 0) {  // rows may read any sources, also fewer than there are rows
    AttentionInputs shared = in;
    shared.sources = draw.from(1, call.batch);
    shared.rows = arrays.whole<int64_t>(rows, 0, shared.sources - 1);
    attention_forward(call, shared, arrays.output<T>(contexts), nullptr,
                      arrays.workspace(attention_forward_workspace(call)));
  }
  AttentionGradients g{};
  g.weights = kept;
  if (draw.coin()) g.dcontext = arrays.uniform<T>(contexts, -1, 1);
  if (draw.coin()) g.dweights = arrays.uniform<T>(weights, -1, 1);
  if (draw.coin()) g.dquery = arrays.output<T>(queries);
  if (draw.coin()) g.dkeys = arrays.output<T>(keys);
  if (draw.coin()) g.dvalues = arrays.output<T>(values);
  if (a.additive && draw.coin()) g.dweight_score = arrays.output<T>(call.models * a.query());
  attention_backward(call, in, g, arrays.workspace(attention_backward_workspace(call)));
  return arrays.digest();
}

template <class T>
uint64_t decoder(Draw& draw, int threads, Dtype dtype) {
  Arrays arrays(draw);
  SequenceCall call{};
  call.kind = draw.coin() ? SequenceKind::lstm : SequenceKind::gru, call.dtype = dtype, call.threads = threads;
  call.models = draw.from(0, 2), call.directions = 1, call.steps = draw.from(0, 40);
  call.batch = draw.coin() ? draw.from(0, 20) : draw.from(33, 70), call.token_ids = draw.coin();
  AttentionShape a = drawn_shape(draw);
  a.projects = draw.coin(), a.query_before = draw.coin();
  const bool combines = draw.coin();
  a.attentional = combines ? draw.from(1, 18) : 0;
  a.feed = static_cast<Feed>(draw.from(0, combines && !a.query_before ? 2 : 1));
  const int64_t x = draw.from(1, 7);
  call.attention = a, call.inputs = x + a.fed(), call.hidden = a.projects ? draw.from(1, 30) : a.query();
  const bool lstm = call.kind == SequenceKind::lstm;
  const int64_t E = call.models, S = call.steps, B = call.batch, H = call.hidden, F = a.fed();
  const int64_t rows = E * S * B, states = E * B * H, gates = E * (lstm ? 4 : 3) * H, source = E * B * a.source;

  SequenceInputs in{};
  in.x =
      call.token_ids ? static_cast<void*>(arrays.whole<int64_t>(rows, 0, x - 1)) : arrays.uniform<T>(rows * x, -1, 1);
  in.weight_ih = arrays.uniform<T>(gates * call.inputs, -0.3, 0.3),
  in.weight_hh = arrays.uniform<T>(gates * H, -0.3, 0.3);
  in.bias_ih = arrays.uniform<T>(gates, -1, 1), in.bias_hh = arrays.uniform<T>(gates, -1, 1);
  if (draw.coin()) in.h0 = arrays.uniform<T>(states, -1, 1);
  if (draw.coin()) in.lengths = arrays.whole<int64_t>(E * B, 0, S);
  DecoderTensors d{};
  d.keys = arrays.uniform<T>(source * a.query(), -1, 1), d.values = arrays.uniform<T>(source * a.context(), -1, 1);
  d.scale = 1;
  if (draw.coin()) d.mask = arrays.whole<uint8_t>(source, 0, 1);
  if (a.projects) d.weight_query = arrays.uniform<T>(E * a.query() * H, -0.3, 0.3);
  if (a.projects && draw.coin()) d.bias_query = arrays.uniform<T>(E * a.query(), -1, 1);
  if (a.additive) d.weight_score = arrays.uniform<T>(E * a.query(), -1, 1);
  if (combines) d.weight_output = arrays.uniform<T>(E * a.attentional * (a.context() + H), -0.3, 0.3);
  if (combines && draw.coin()) d.bias_output = arrays.uniform<T>(E * a.attentional, -1, 1);
  const bool fed_on = F > 0 && !a.query_before;
  if (fed_on && draw.coin()) d.feed0 = arrays.uniform<T>(E * B * F, -1, 1);

  SequenceOutputs out{};
  out.y = arrays.output<T>(rows * H), out.hn = arrays.output<T>(states);
  out.gates = arrays.filled<T>(rows * 4 * H, T(0));  // those of rows that have ended stay as they are
  if (lstm) out.cells = arrays.output<T>(rows * H), out.cn = arrays.output<T>(states);
  d.context = arrays.output<T>(rows * a.context());
  d.kept = arrays.filled<T>(rows * a.heads * a.source, T(0));  // likewise
  if (combines) d.attentional = arrays.output<T>(rows * a.attentional);
  if (fed_on) d.feed = arrays.output<T>(E * B * F);
  if (draw.coin()) d.weights = arrays.output<T>(rows * a.heads * a.source);
  if (a.projects) d.query = arrays.output<T>(rows * a.query());
  sequence_forward(call, in, out, arrays.workspace(sequence_forward_workspace(call)), &d);

  SequenceGradients gradients{};
  if (draw.coin()) gradients.dy = arrays.uniform<T>(rows * H, -1, 1);
  if (draw.coin()) gradients.dhn = arrays.uniform<T>(states, -1, 1);
  if (draw.coin()) d.dcontext = arrays.uniform<T>(rows * a.context(), -1, 1);
  if (combines && draw.coin()) d.dattentional = arrays.uniform<T>(rows * a.attentional, -1, 1);
  if (fed_on && draw.coin()) d.dfeed = arrays.uniform<T>(E * B * F, -1, 1);
  if (draw.coin()) d.dweights = arrays.uniform<T>(rows * a.heads * a.source, -1, 1);
  SequenceInputGradients wanted{};
  if (!call.token_ids && draw.coin()) wanted.dx = arrays.output<T>(rows * x);
  if (draw.coin()) wanted.dweight_ih = arrays.output<T>(gates * call.inputs);
  if (draw.coin()) wanted.dweight_hh = arrays.output<T>(gates * H);
  if (draw.coin()) wanted.dbias_ih = arrays.output<T>(gates), wanted.dbias_hh = arrays.output<T>(gates);
  if (in.h0 != nullptr) wanted.dh0 = arrays.output<T>(states);
  if (draw.coin()) d.dkeys = arrays.output<T>(source * a.query());
  if (draw.coin()) d.dvalues = arrays.output<T>(source * a.context());
  if (d.feed0 != nullptr) d.dfeed0 = arrays.output<T>(E * B * F);
  if (a.additive) d.dweight_score = arrays.output<T>(E * a.query());
  if (a.projects) d.dquery = arrays.output<T>(rows * a.query());
  if (combines) d.doutput = arrays.output<T>(rows * a.attentional);
  sequence_backward(call, gradients, in, {out.y, out.gates, out.cells}, wanted,
                    arrays.workspace(sequence_backward_workspace(call)), &d);
  return arrays.digest();
}

}  // namespace

uint64_t call_attention(Draw draw, int threads) {
  return draw.coin() ? step<float>(draw, threads, Dtype::float32) : step<double>(draw, threads, Dtype::float64);
}
uint64_t call_decoder(Draw draw, int threads) {
  return draw.coin() ? decoder<float>(draw, threads, Dtype::float32) : decoder<double>(draw, threads, Dtype::float64);
}

}  // namespace mk
