// Sequence-to-sequence training for Python: a program whose pointers are set as integers, and calls that run it.
#include "trainers/seq2seq/program.h"

#include "python/bind.h"

namespace {

using P = mk::Seq2SeqProgram;

py::dict offsets(const P& p) {
  mk::Seq2SeqOffsets o;
  mk::seq2seq_offsets(p, o);
  py::dict out;
  for (int d = 0; d < 2; ++d) {
    const auto layer = [](const mk::Seq2SeqOffsets::Layer& at) {
      return py::make_tuple(at.input, at.recurrent, at.bias);
    };
    out[py::make_tuple("encoder", d)] = layer(o.encoder[d]);
    out[py::make_tuple("decoder", d)] = layer(o.decoder[d]);
    out[py::make_tuple("norm", d)] = py::make_tuple(o.norm[d].gamma, o.norm[d].beta);
  }
  out["output"] = py::make_tuple(o.output, o.output_bias);
  out["count"] = o.count;
  out["gate_row"] = o.gate_row;
  out["feature_row"] = o.feature_row;
  out["output_row"] = o.output_row;
  return out;
}

}  // namespace

void bind_seq2seq(py::module_& m) {
  py::class_<P> c(m, "Seq2SeqProgram");
  c.def(py::init([] { return P{}; }));
#define MK_VALUE(name) c.def_readwrite(#name, &P::name);
#define MK_POINTER(name) pointer_field<&P::name>(c, #name);
  // clang-format off
  MK_VALUE(dtype) MK_VALUE(models) MK_VALUE(alphabet) MK_VALUE(steps_in) MK_VALUE(steps_out) MK_VALUE(hidden)
  MK_VALUE(batch_norm) MK_VALUE(batch) MK_VALUE(samples) MK_VALUE(first) MK_VALUE(last)
  MK_VALUE(decay1) MK_VALUE(decay2) MK_VALUE(eps) MK_VALUE(norm_eps) MK_VALUE(norm_decay)
  MK_POINTER(inputs) MK_POINTER(targets) MK_POINTER(order) MK_POINTER(step) MK_POINTER(parameter)
  MK_POINTER(first_moment) MK_POINTER(second_moment) MK_POINTER(running) MK_POINTER(loss) MK_POINTER(predicted)
  MK_POINTER(score)
  // clang-format on
#undef MK_VALUE
#undef MK_POINTER
                      m.attr("seq2seq_block") = mk::block_samples;
  m.def("seq2seq_offsets", &offsets);
  m.def("seq2seq_train_bytes", &mk::seq2seq_train_bytes);
  m.def("seq2seq_evaluate_bytes", &mk::seq2seq_evaluate_bytes);
  const auto released = py::call_guard<py::gil_scoped_release>();
  m.def(
      "seq2seq_train",
      [](const P& p, int threads, uint64_t memory) { mk::seq2seq_train(p, threads, reinterpret_cast<void*>(memory)); },
      released);
  m.def(
      "seq2seq_evaluate",
      [](const P& p, int threads, uint64_t memory) {
        mk::seq2seq_evaluate(p, threads, reinterpret_cast<void*>(memory));
      },
      released);
}
