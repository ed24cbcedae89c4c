// The Python module mathkernels._C_cuda.  It loads on machines without a GPU or a driver; only training needs them.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "cuda/device_program.h"
#include "cuda/kernels.h"

namespace py = pybind11;

namespace {

// Programs of mathkernels._C, by address; the caller keeps them and their arrays alive.
class Ensemble {
 public:
  explicit Ensemble(const std::vector<uint64_t>& addresses) {
    for (const uint64_t address : addresses)
      programs_.push_back(std::make_unique<mk::DeviceProgram>(*reinterpret_cast<const mk::Program*>(address), sets_));
  }

  // Runs the windows of some programs side by side and returns when all are done.
  void train(const std::vector<size_t>& indices) {
    for (const size_t index : indices) programs_.at(index)->start();
    for (const size_t index : indices) programs_.at(index)->finish();
  }

 private:
  mk::SharedSets sets_;
  std::vector<std::unique_ptr<mk::DeviceProgram>> programs_;
};

}  // namespace

PYBIND11_MODULE(_C_cuda, m) {
  m.doc() = "GPU kernels of mathkernels; use mathkernels.ensemble, which checks what it passes.";
  m.attr("version") = MK_VERSION;
  m.attr("architectures") = MK_CUDA_ARCHITECTURES;
  m.attr("toolkit") = MK_CUDA_TOOLKIT;
  m.attr("max_inputs") = mk::cuda_max_inputs;
  m.attr("program_bytes") = sizeof(mk::Program);
  m.def("problem", &mk::cuda_problem, "What keeps this machine from running CUDA kernels, or an empty string.");
  py::class_<Ensemble>(m, "Ensemble")
      .def(py::init<const std::vector<uint64_t>&>(), py::call_guard<py::gil_scoped_release>())
      .def("train", &Ensemble::train, py::call_guard<py::gil_scoped_release>());
}
