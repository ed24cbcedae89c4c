// One bind function per family of kernels, called by module.cpp.
#pragma once
#include <pybind11/pybind11.h>

namespace py = pybind11;

// The names and numbers of one of the lists of common/enumerations.h.
#define MK_NAME_OF(name) names[#name] = static_cast<int64_t>(names.size());
#define MK_NAMES_OF(LIST) \
  [] {                    \
    py::dict names;       \
    LIST(MK_NAME_OF)      \
    return names;         \
  }()

void bind_ensemble(py::module_& m);
void bind_layers(py::module_& m);
void bind_memory(py::module_& m);
void bind_seq2seq(py::module_& m);
void bind_sequences(py::module_& m);
