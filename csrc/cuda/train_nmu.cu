#include "cells/nmu.h"
#include "cuda/train.cuh"

namespace mk::MK_ISA {

TrainKernel* nmu_kernel(const Program& p) { return choose<Nmu>(p); }

}  // namespace mk::MK_ISA
