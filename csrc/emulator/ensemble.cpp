// The training kernels of csrc/cuda, compiled for the emulator.  Build as one shared library with emulator.cpp and
//     -std=c++17 -ffp-contract=off -DMK_EMULATOR -DMK_ISA=emulated -I csrc
#include "cuda/train_nmu.cu"
#include "cuda/train_real_npu.cu"

extern "C" int64_t program_bytes() { return sizeof(mk::Program); }

// Trains as one launch of the GPU would; the program's addresses are the CPU's own.  Returns nullptr, or what went
// wrong.
extern "C" const char* emulate(const mk::Program* program, int block_threads, unsigned order) {
  struct Launch {
    const mk::Program* program;
    mk::TrainKernel* kernel;
  } launch{program, nullptr};
  switch (static_cast<mk::Cell>(program->cell)) {
    case mk::Cell::nmu:
      launch.kernel = mk::emulated::nmu_kernel(*program);
      break;
    case mk::Cell::real_npu:
      launch.kernel = mk::emulated::real_npu_kernel(*program);
      break;
    default:
      return "no kernel of the GPU trains this cell";
  }
  const int64_t threads = program->tiles * mk::tile_models * mk::emulated::warp_lanes;
  return mk::emulator::launch(
      static_cast<int>((threads + block_threads - 1) / block_threads), block_threads, order,
      [](void* argument) {
        const auto* each = static_cast<const Launch*>(argument);
        each->kernel(*each->program);
      },
      &launch);
}
