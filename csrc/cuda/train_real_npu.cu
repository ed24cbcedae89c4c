#include "cells/real_npu.h"
#include "cuda/train.cuh"

namespace mk::MK_ISA {

TrainKernel* real_npu_kernel(const Program& p) {
  // as on the CPU, constant signs are for the sizes that have a loop of their own
  const bool constant = p.constant_signs && (p.inputs == 2 || p.inputs == 10);
  return constant ? choose<RealNpu<Signs::constant>>(p) : choose<RealNpu<Signs::mixed>>(p);
}

}  // namespace mk::MK_ISA
