#include "cells/real_npu.h"
#include "cuda/train.cuh"

namespace mk::MK_ISA {

TrainKernel* real_npu_kernel(const Program& p) {
  return p.constant_signs ? choose<RealNpu<Signs::constant>>(p) : choose<RealNpu<Signs::mixed>>(p);
}

}  // namespace mk::MK_ISA
