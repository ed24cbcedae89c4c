// Binds what mathkernels/ops/_memory.py needs to keep torch's storages.
#include "common/memory.h"

#include "python/bind.h"

void bind_memory(py::module_& m) {
  m.def("prefer_huge_pages",
        [](std::uintptr_t address, int64_t bytes) { mk::prefer_huge_pages(reinterpret_cast<void*>(address), bytes); });
  // What use_count(identity) says, and Python's count of references to an object: both at one time, because no other
  // thread runs Python code between them.
  m.def("holders", [](const py::function& use_count, std::uintptr_t identity, py::handle object) {
    const auto held = use_count(identity).cast<int64_t>();
    return py::make_tuple(held, static_cast<int64_t>(Py_REFCNT(object.ptr())));
  });
}
