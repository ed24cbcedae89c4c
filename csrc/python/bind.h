// One bind function per family of kernels, called by module.cpp.
#pragma once
#include <pybind11/pybind11.h>

#include <cstdint>

namespace py = pybind11;

// The names and numbers of one of the lists of common/enumerations.h.
#define MK_NAME_OF(name) names[#name] = static_cast<int64_t>(names.size());
#define MK_NAMES_OF(LIST) \
  [] {                    \
    py::dict names;       \
    LIST(MK_NAME_OF)      \
    return names;         \
  }()

void bind_attention(py::module_& m);
void bind_ensemble(py::module_& m);
void bind_layers(py::module_& m);
void bind_memory(py::module_& m);
void bind_seq2seq(py::module_& m);
void bind_sequences(py::module_& m);

// Python passes memory as an address.
using Address = std::uintptr_t;
inline void* pointer(Address address) { return reinterpret_cast<void*>(address); }

// A field that is a pointer is such an address in Python too, of an array that the caller keeps alive.
template <auto field, class Program>
void pointer_field(py::class_<Program>& c, const char* name) {
  using Pointer = std::remove_reference_t<decltype(std::declval<Program&>().*field)>;
  c.def_property(
      name, [](const Program& p) { return reinterpret_cast<uint64_t>(p.*field); },
      [](Program& p, uint64_t address) { p.*field = reinterpret_cast<Pointer>(address); });
}
