// Binds attention, apart and within decoders, of mathkernels.h.  Addresses arrive as integers, 0 for what is absent;
// the callers in mathkernels/ops check them.
#include "mathkernels.h"

#include "python/bind.h"

namespace {

mk::AttentionShape shape(int64_t source, int64_t heads, int64_t key, int64_t value, bool additive) {
  return {source, heads, key, value, 0, additive, false, false, mk::Feed::none};
}

mk::AttentionCall attention_call(int dtype, int64_t models, int64_t batch, int64_t queries, int64_t source,
                                 int64_t heads, int64_t key, int64_t value, bool additive, int threads) {
  return {static_cast<mk::Dtype>(dtype), models, batch, queries, shape(source, heads, key, value, additive), threads};
}

void attend(mk::SequenceCall& call, int64_t source, int64_t heads, int64_t key, int64_t value, int64_t attentional,
            bool additive, bool projects, bool query_before, int feed) {
  call.attention = {
      source, heads, key, value, attentional, additive, projects, query_before, static_cast<mk::Feed>(feed)};
}

#define MK_DECODER_FIELDS(field)                                                                                       \
  field(keys) field(values) field(mask) field(weight_query) field(bias_query) field(weight_score) field(weight_output) \
      field(bias_output) field(feed0) field(context) field(attentional) field(feed) field(weights) field(kept)         \
          field(query) field(dcontext) field(dattentional) field(dfeed) field(dweights) field(dkeys) field(dvalues)    \
              field(dfeed0) field(dweight_score) field(dquery) field(doutput)

void bind_decoder(py::module_& m) {
  using D = mk::DecoderTensors;
  py::class_<D> c(m, "DecoderTensors");
  c.def(py::init<>());
  c.def_readwrite("scale", &D::scale);
#define MK_FIELD(name) pointer_field<&D::name>(c, #name);
  MK_DECODER_FIELDS(MK_FIELD)
#undef MK_FIELD
}

}  // namespace

void bind_attention(py::module_& m) {
  const auto released = py::call_guard<py::gil_scoped_release>();
  m.attr("feeds") = MK_NAMES_OF(MK_FEEDS);
  bind_decoder(m);
  m.def("attend", &attend);
  m.def("attention_call", &attention_call);
  py::class_<mk::AttentionCall>(m, "AttentionCall");
  m.def("attention_forward_workspace", &mk::attention_forward_workspace);
  m.def("attention_backward_workspace", &mk::attention_backward_workspace);
  m.def(
      "attention_forward",
      [](const mk::AttentionCall& call, Address query, Address keys, Address values, Address mask, Address weight_score,
         double scale, Address rows, int64_t sources, Address context, Address weights, Address workspace) {
        mk::attention_forward(call,
                              {pointer(query), pointer(keys), pointer(values), pointer(mask), pointer(weight_score),
                               scale, static_cast<const int64_t*>(pointer(rows)), sources},
                              pointer(context), pointer(weights), pointer(workspace));
      },
      released);
  m.def(
      "attention_backward",
      [](const mk::AttentionCall& call, Address query, Address keys, Address values, Address mask, Address weight_score,
         double scale, Address dcontext, Address dweights, Address weights, Address dquery, Address dkeys,
         Address dvalues, Address dweight_score, Address workspace) {
        mk::attention_backward(
            call,
            {pointer(query), pointer(keys), pointer(values), pointer(mask), pointer(weight_score), scale, nullptr, 0},
            {pointer(dcontext), pointer(dweights), pointer(weights), pointer(dquery), pointer(dkeys), pointer(dvalues),
             pointer(dweight_score)},
            pointer(workspace));
      },
      released);
}
