// Binds the sequences of mathkernels.h.  Addresses arrive as integers, 0 for what is absent; the callers in
// mathkernels/ops check them.
#include "mathkernels.h"

#include "python/bind.h"

namespace {

mk::SequenceCall sequence_call(int kind, int dtype, bool bfloat16, bool token_ids, int64_t models, int64_t directions,
                               int64_t steps, int64_t batch, int64_t inputs, int64_t hidden, int threads) {
  return {static_cast<mk::SequenceKind>(kind),
          static_cast<mk::Dtype>(dtype),
          bfloat16,
          token_ids,
          models,
          directions,
          steps,
          batch,
          inputs,
          hidden,
          threads,
          {}};
}

mk::SequenceInputs inputs(Address x, Address weight_ih, Address weight_hh, Address bias_ih, Address bias_hh, Address h0,
                          Address c0, Address lengths) {
  return {pointer(x),       pointer(weight_ih), pointer(weight_hh), pointer(bias_ih),
          pointer(bias_hh), pointer(h0),        pointer(c0),        static_cast<const int64_t*>(pointer(lengths))};
}

void forward(const mk::DecoderTensors* decoder, const mk::SequenceCall& call, Address x, Address weight_ih,
             Address weight_hh, Address bias_ih, Address bias_hh, Address h0, Address c0, Address lengths, Address y,
             Address hn, Address cn, Address gates, Address cells, Address workspace) {
  mk::sequence_forward(call, inputs(x, weight_ih, weight_hh, bias_ih, bias_hh, h0, c0, lengths),
                       {pointer(y), pointer(hn), pointer(cn), pointer(gates), pointer(cells)}, pointer(workspace),
                       decoder);
}

void backward(const mk::DecoderTensors* decoder, const mk::SequenceCall& call, Address dy, Address dhn, Address dcn,
              Address dcells, Address x, Address weight_ih, Address weight_hh, Address bias_ih, Address bias_hh,
              Address h0, Address c0, Address lengths, Address y, Address gates, Address cells, Address dx,
              Address dweight_ih, Address dweight_hh, Address dbias_ih, Address dbias_hh, Address dh0, Address dc0,
              Address workspace) {
  mk::sequence_backward(call, {pointer(dy), pointer(dhn), pointer(dcn), pointer(dcells)},
                        inputs(x, weight_ih, weight_hh, bias_ih, bias_hh, h0, c0, lengths),
                        {pointer(y), pointer(gates), pointer(cells)},
                        {pointer(dx), pointer(dweight_ih), pointer(dweight_hh), pointer(dbias_ih), pointer(dbias_hh),
                         pointer(dh0), pointer(dc0)},
                        pointer(workspace), decoder);
}

// The same function without the first argument, which is null.
template <auto function, class... Arguments>
auto without_decoder(void (*)(const mk::DecoderTensors*, Arguments...)) {
  return [](Arguments... arguments) { function(nullptr, arguments...); };
}

}  // namespace

void bind_sequences(py::module_& m) {
  const auto released = py::call_guard<py::gil_scoped_release>();
  m.attr("sequence_kinds") = MK_NAMES_OF(MK_SEQUENCE_KINDS);
  m.def("sequence_call", &sequence_call);
  py::class_<mk::SequenceCall>(m, "SequenceCall");
  m.def("sequence_forward_workspace", &mk::sequence_forward_workspace);
  m.def("sequence_backward_workspace", &mk::sequence_backward_workspace);
  m.def("sequence_forward", without_decoder<forward>(forward), released);
  m.def("sequence_backward", without_decoder<backward>(backward), released);
  m.def("decoder_forward", &forward, released);
  m.def("decoder_backward", &backward, released);
}
