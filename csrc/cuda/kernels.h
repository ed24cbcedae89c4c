// The training kernels of the GPU.
#pragma once
#include "trainers/nalm/program.h"

namespace mk {

constexpr int cuda_max_inputs = 32;  // each lane of a warp holds a whole model: beyond 10 inputs in its local memory
constexpr int cuda_block_threads = 128;  // at most

using TrainKernel = void(Program);

namespace MK_ISA {
// The kernel for a program of that cell.
TrainKernel* nmu_kernel(const Program&);
TrainKernel* real_npu_kernel(const Program&);
}  // namespace MK_ISA

}  // namespace mk
