// Sequences of LSTM and GRU, with everything that may be absent there or not.
#include "mathkernels.h"
#include "tests/calls.h"

namespace mk {
namespace {

template <class T>
uint64_t sequence(Draw& draw, int threads, Dtype dtype) {
  Arrays arrays(draw);
  SequenceCall call{};
  call.kind = draw.coin() ? SequenceKind::lstm : SequenceKind::gru, call.dtype = dtype, call.threads = threads;
  call.models = draw.from(0, 2), call.directions = draw.from(1, 2), call.steps = draw.from(0, 5);
  const int64_t most_rows[] = {9, 40, 150};
  call.batch = draw.from(0, most_rows[draw.from(0, 2)]), call.inputs = draw.from(0, 12);
  call.hidden = draw.coin() ? draw.from(0, 20) : draw.from(21, 50);
  call.bfloat16 = dtype == Dtype::float32 && draw.coin(), call.token_ids = call.inputs > 0 && draw.coin();
  const bool lstm = call.kind == SequenceKind::lstm;
  const int64_t E = call.models, D = call.directions, S = call.steps, B = call.batch, I = call.inputs, H = call.hidden;
  const int64_t rows = E * S * B, states = E * D * B * H, gates = E * D * (lstm ? 4 : 3) * H;
  const double scale = 1 / std::sqrt(static_cast<double>(H + 1));

  SequenceInputs in{};
  int64_t* const lengths = draw.coin() ? arrays.whole<int64_t>(E * B, 0, S) : nullptr;
  int64_t* const ids = call.token_ids ? arrays.whole<int64_t>(rows, 0, I - 1) : nullptr;
  if (ids != nullptr && lengths != nullptr)  // what stands behind a row's end is no token id
    for (int64_t k = 0; k < rows; ++k)
      if (k / B % S >= lengths[k / (S * B) * B + k % B]) ids[k] = -(int64_t{1} << 40);
  in.x = call.token_ids ? static_cast<void*>(ids) : arrays.uniform<T>(rows * I, -1, 1);
  in.weight_ih = arrays.uniform<T>(gates * I, -scale, scale), in.lengths = lengths;
  in.weight_hh = arrays.uniform<T>(gates * H, -scale, scale);
  const bool biased = draw.coin();
  if (biased) in.bias_ih = arrays.uniform<T>(gates, -1, 1), in.bias_hh = arrays.uniform<T>(gates, -1, 1);
  if (draw.coin()) in.h0 = arrays.uniform<T>(states, -1, 1);
  if (lstm && draw.coin()) in.c0 = arrays.uniform<T>(states, -1, 1);

  SequenceOutputs out{};
  out.y = arrays.output<T>(rows * D * H);
  if (draw.coin()) out.hn = arrays.output<T>(states);
  if (lstm && draw.coin()) out.cn = arrays.output<T>(states);
  out.gates = arrays.filled<T>(rows * D * 4 * H, T(0));  // those of rows that have ended stay as they are
  if (lstm) out.cells = arrays.output<T>(rows * D * H);
  sequence_forward(call, in, out, arrays.workspace(sequence_forward_workspace(call)));

  SequenceGradients gradients{};
  if (draw.coin()) gradients.dy = arrays.uniform<T>(rows * D * H, -1, 1);
  if (draw.coin()) gradients.dhn = arrays.uniform<T>(states, -1, 1);
  if (lstm && draw.coin()) gradients.dcn = arrays.uniform<T>(states, -1, 1);
  if (lstm && draw.coin()) gradients.dcells = arrays.uniform<T>(rows * D * H, -1, 1);
  SequenceInputGradients wanted{};
  if (!call.token_ids && draw.coin()) wanted.dx = arrays.output<T>(rows * I);
  if (draw.coin()) wanted.dweight_ih = arrays.output<T>(gates * I);
  if (draw.coin()) wanted.dweight_hh = arrays.output<T>(gates * H);
  if (biased && draw.coin()) wanted.dbias_ih = arrays.output<T>(gates), wanted.dbias_hh = arrays.output<T>(gates);
  if (in.h0 != nullptr && draw.coin()) wanted.dh0 = arrays.output<T>(states);
  if (in.c0 != nullptr && draw.coin()) wanted.dc0 = arrays.output<T>(states);
  sequence_backward(call, gradients, in, {out.y, out.gates, out.cells}, wanted,
                    arrays.workspace(sequence_backward_workspace(call)));
  return arrays.digest();
}

}  // namespace

uint64_t call_sequence(Draw draw, int threads) {
  return draw.coin() ? sequence<float>(draw, threads, Dtype::float32) : sequence<double>(draw, threads, Dtype::float64);
}

}  // namespace mk
