#include "cells/npu.h"

#include "kernels/layers/layer_loop.h"

namespace mk::MK_ISA {

constexpr LayerKernels<float> npu_float = layer_kernels<Npu<>, float, false, 1>();
constexpr LayerKernels<double> npu_double = layer_kernels<Npu<>, double, false, 1>();

}  // namespace mk::MK_ISA
