// The ensemble for Python: a Program whose pointers are set as integers, and one call that trains many of them.
#include "common/dispatch.h"
#include "common/parallel.h"
#include "python/bind.h"
#include "trainers/nalm/program.h"

namespace {

struct Work {
  const mk::Program* program;
  mk::TrainTile* train;
  int64_t tile;
};

// Trains all tiles of all programs; `work` holds one entry per tile, `scratch` `scratch_bytes` per thread.
void train(const py::list& programs, uint64_t scratch, int64_t scratch_bytes, int threads) {
  const mk::EnsembleKernels& kernels = *mk::instruction_set().ensemble;
  std::vector<Work> work;
  for (const auto& item : programs) {
    const auto& program = item.cast<const mk::Program&>();
    mk::TrainTile* kernel = kernels.train(program);
    if (kernel == nullptr || kernels.scratch(program) > scratch_bytes || program.inputs > mk::max_inputs)
      throw py::value_error("ensemble: a program names no kernel or its scratch is too small");
    for (int64_t tile = 0; tile < program.tiles; ++tile) work.push_back({&program, kernel, tile});
  }
  py::gil_scoped_release release;
  mk::parallel_for(static_cast<int64_t>(work.size()), threads, [&](int worker, int64_t item) {
    const Work& w = work[static_cast<size_t>(item)];
    w.train(*w.program, w.tile, reinterpret_cast<char*>(scratch) + worker * scratch_bytes);
  });
}

}  // namespace

void bind_ensemble(py::module_& m) {
  using P = mk::Program;
  py::class_<mk::Group>(m, "Group")
      .def_readwrite("penalty", &mk::Group::penalty)
      .def_readwrite("clamped", &mk::Group::clamped)
      .def_readwrite("low", &mk::Group::low)
      .def_readwrite("high", &mk::Group::high)
      .def_readwrite("below", &mk::Group::below);
  py::class_<P> c(m, "Program");
  c.def(py::init([] { return P{}; }));
  c.def(
      "group",
      [](P& p, int index) -> mk::Group& {
        if (index < 0 || index >= mk::max_groups) throw py::index_error("ensemble: no such group");
        return p.group[index];
      },
      py::return_value_policy::reference_internal);
  c.def_property_readonly("address", [](const P& p) { return reinterpret_cast<uint64_t>(&p); });  // for _C_cuda
#define MK_VALUE(name) c.def_readwrite(#name, &P::name);
#define MK_POINTER(name) pointer_field<&P::name>(c, #name);
  // clang-format off
  MK_VALUE(dtype) MK_VALUE(cell) MK_VALUE(constant_signs) MK_VALUE(inputs) MK_VALUE(parameters)
  MK_VALUE(batch) MK_VALUE(operation) MK_VALUE(generator) MK_VALUE(tiles) MK_VALUE(first) MK_VALUE(last)
  MK_VALUE(evaluate_every) MK_VALUE(row_capacity) MK_VALUE(optimiser) MK_VALUE(decay1) MK_VALUE(beta2) MK_VALUE(decay2)
  MK_VALUE(eps) MK_VALUE(momentum) MK_VALUE(norm_order) MK_VALUE(clip_norm)
  MK_VALUE(wide_norm) MK_VALUE(distribution) MK_VALUE(criterion) MK_VALUE(groups)
  MK_VALUE(epsilon) MK_VALUE(second_epsilon) MK_VALUE(hidden) MK_VALUE(second) MK_VALUE(valid_count) MK_VALUE(test_count)
  MK_POINTER(step) MK_POINTER(correction) MK_POINTER(penalty) MK_POINTER(slot_shape) MK_POINTER(norm)
  MK_POINTER(models) MK_POINTER(slots) MK_POINTER(slot) MK_POINTER(slot_seed) MK_POINTER(slot_anchor) MK_POINTER(scale)
  MK_POINTER(offset) MK_POINTER(negative) MK_POINTER(subset) MK_POINTER(valid_inputs) MK_POINTER(valid_target)
  MK_POINTER(test_inputs) MK_POINTER(test_target) MK_POINTER(parameter) MK_POINTER(first_moment)
  MK_POINTER(second_moment) MK_POINTER(best) MK_POINTER(best_valid) MK_POINTER(best_row) MK_POINTER(rows)
  MK_POINTER(custom) MK_POINTER(second_custom) MK_POINTER(restart_parameter) MK_POINTER(restarts)
  MK_POINTER(window_row) MK_VALUE(restart_window) MK_VALUE(restart_every) MK_VALUE(restart_above)
  MK_VALUE(restart_capacity) MK_VALUE(clip_value) MK_POINTER(slot_avoid) MK_POINTER(least)
  // clang-format on
#undef MK_VALUE
#undef MK_POINTER
                                                                          m.attr("tile_models") = mk::tile_models;
  m.attr("max_inputs") = mk::max_inputs;
  m.attr("row_columns") = mk::row_columns;
  m.attr("shape_numbers") = mk::shape_numbers;
  m.attr("avoid_count") = mk::avoid_count;
  m.attr("program_bytes") = sizeof(P);
  m.def("program_scratch_bytes", [](const P& p) { return mk::instruction_set().ensemble->scratch(p); });
  m.def("cell_sizes", [] {
    const mk::EnsembleKernels& kernels = *mk::instruction_set().ensemble;
    return py::make_tuple(mk::cell_interface, kernels.cell_bytes, kernels.vector_bytes);
  });
  m.attr("cells") = MK_NAMES_OF(MK_CELLS);
  m.attr("operations") = MK_NAMES_OF(MK_OPERATIONS);
  m.attr("optimisers") = MK_NAMES_OF(MK_OPTIMISERS);
  m.attr("generators") = MK_NAMES_OF(MK_GENERATORS);
  m.attr("criteria") = MK_NAMES_OF(MK_CRITERIA);
  m.attr("distributions") = MK_NAMES_OF(MK_DISTRIBUTIONS);
  m.attr("max_hidden") = mk::max_hidden;
  m.attr("max_groups") = mk::max_groups;
  m.def("train", &train, py::arg("programs"), py::arg("scratch"), py::arg("scratch_bytes"), py::arg("threads"));
}
