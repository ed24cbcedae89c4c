// The Python module mathkernels._C: plain functions of integers and pointers; every long one releases the GIL.
#include "python/bind.h"

#include "common/dispatch.h"
#include "common/isa.h"

namespace {

void bind_system(py::module_& m) {
  m.attr("version") = MK_VERSION;
  m.attr("compiler") = __VERSION__;
  m.def("isa_names", [] {
    py::list names;
    for (int k = 0; k < mk::isa_count(); ++k) names.append(mk::isa_name(k));
    return names;
  });
  m.def("isa_available", &mk::isa_available);
  m.def("isa_best", &mk::isa_best);
  m.def("isa_current", &mk::isa_current);
  m.def("isa_force", &mk::isa_force);
  m.attr("pairs") = MK_NAMES_OF(MK_PAIRS);
  m.def("bfloat16_pairs", [] { return mk::bfloat16_pairs(mk::instruction_set()); });
  m.def("bfloat16_pairs_set", [](int which) { return mk::bfloat16_pairs_set(static_cast<mk::Pairs>(which)); });
}

}  // namespace

PYBIND11_MODULE(_C, m) {
  m.doc() = "Compiled kernels of mathkernels; use the Python packages, which check what they pass.";
  bind_system(m);
  bind_ensemble(m);
  bind_layers(m);
  bind_memory(m);
  bind_seq2seq(m);
  bind_attention(m);
  bind_sequences(m);
}
