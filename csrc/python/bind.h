// One bind function per family of kernels, called by module.cpp.
#pragma once
#include <pybind11/pybind11.h>

namespace py = pybind11;

void bind_ensemble(py::module_& m);
void bind_layers(py::module_& m);
void bind_memory(py::module_& m);
void bind_sequences(py::module_& m);
