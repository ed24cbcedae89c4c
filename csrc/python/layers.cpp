// Binds the layer kernels of mathkernels.h.  Addresses arrive as integers; the callers in mathkernels/ops check them.
#include "mathkernels.h"

#include "python/bind.h"

namespace {

mk::LayerCall layer_call(int kind, int dtype, bool training, double epsilon, int64_t models, int64_t batch, int64_t in,
                         int64_t out, int threads) {
  return {static_cast<mk::LayerKind>(kind),
          static_cast<mk::Dtype>(dtype),
          training,
          epsilon,
          models,
          batch,
          in,
          out,
          threads};
}

mk::RecurrentCall recurrent_call(int kind, int dtype, double epsilon, int64_t models, int64_t steps, int64_t batch,
                                 int threads) {
  return {static_cast<mk::RecurrentKind>(kind), static_cast<mk::Dtype>(dtype), epsilon, models, steps, batch, threads};
}

void bind_recurrent(py::module_& m) {
  const auto released = py::call_guard<py::gil_scoped_release>();
  m.attr("recurrent_kinds") = MK_NAMES_OF(MK_RECURRENT_KINDS);
  m.def("recurrent_call", &recurrent_call);
  py::class_<mk::RecurrentCall>(m, "RecurrentCall");
  m.def("recurrent_backward_workspace", &mk::recurrent_backward_workspace);
  m.def(
      "recurrent_forward",
      [](const mk::RecurrentCall& call, Address l, Address weight, Address initial, Address h) {
        mk::recurrent_forward(call, pointer(l), pointer(weight), pointer(initial), pointer(h));
      },
      released);
  m.def(
      "recurrent_backward",
      [](const mk::RecurrentCall& call, Address dh, Address l, Address weight, Address initial, Address h, Address dl,
         Address dweight, Address dinitial, Address workspace) {
        mk::recurrent_backward(call, pointer(dh), pointer(l), pointer(weight), pointer(initial), pointer(h),
                               pointer(dl), pointer(dweight), pointer(dinitial), pointer(workspace));
      },
      released);
}

}  // namespace

void bind_layers(py::module_& m) {
  const auto released = py::call_guard<py::gil_scoped_release>();
  m.attr("dtypes") = MK_NAMES_OF(MK_DTYPES);
  m.attr("layer_kinds") = MK_NAMES_OF(MK_LAYER_KINDS);
  m.attr("penalties") = MK_NAMES_OF(MK_PENALTIES);
  m.attr("elementary_functions") = MK_NAMES_OF(MK_ELEMENTARY_FUNCTIONS);
  bind_recurrent(m);
  m.def("layer_call", &layer_call);
  py::class_<mk::LayerCall>(m, "LayerCall");
  m.def("layer_forward_workspace", &mk::layer_forward_workspace);
  m.def("layer_backward_workspace", &mk::layer_backward_workspace);
  m.def(
      "layer_forward",
      [](const mk::LayerCall& call, Address x, Address weight, Address gate, Address y, Address workspace) {
        mk::layer_forward(call, pointer(x), pointer(weight), pointer(gate), pointer(y), pointer(workspace));
      },
      released);
  m.def(
      "layer_backward",
      [](const mk::LayerCall& call, Address dy, Address x, Address weight, Address gate, Address dx, Address dweight,
         Address dgate, Address workspace) {
        mk::layer_backward(call, pointer(dy), pointer(x), pointer(weight), pointer(gate), pointer(dx), pointer(dweight),
                           pointer(dgate), pointer(workspace));
      },
      released);
  m.def(
      "clipped_reciprocal_forward",
      [](int dtype, int64_t count, double limit, Address x, Address y, int threads) {
        mk::clipped_reciprocal_forward(static_cast<mk::Dtype>(dtype), count, limit, pointer(x), pointer(y), threads);
      },
      released);
  m.def(
      "clipped_reciprocal_backward",
      [](int dtype, int64_t count, double limit, Address dy, Address x, Address dx, int threads) {
        mk::clipped_reciprocal_backward(static_cast<mk::Dtype>(dtype), count, limit, pointer(dy), pointer(x),
                                        pointer(dx), threads);
      },
      released);
  m.def("discretisation_workspace", [](int dtype, int64_t models, int64_t count) {
    return mk::discretisation_workspace(static_cast<mk::Dtype>(dtype), models, count);
  });
  m.def(
      "discretisation_forward",
      [](int dtype, int kind, int64_t models, int64_t count, Address weight, Address y, Address workspace,
         int threads) {
        mk::discretisation_forward(static_cast<mk::Dtype>(dtype), kind, models, count, pointer(weight), pointer(y),
                                   pointer(workspace), threads);
      },
      released);
  m.def(
      "discretisation_backward",
      [](int dtype, int kind, int64_t models, int64_t count, Address dy, Address weight, Address dweight, int threads) {
        mk::discretisation_backward(static_cast<mk::Dtype>(dtype), kind, models, count, pointer(dy), pointer(weight),
                                    pointer(dweight), threads);
      },
      released);
  m.def(
      "elementary",
      [](int dtype, int function, int64_t count, Address x, Address w, Address y) {
        mk::elementary(static_cast<mk::Dtype>(dtype), static_cast<mk::Elementary>(function), count, pointer(x),
                       pointer(w), pointer(y));
      },
      released);
}
