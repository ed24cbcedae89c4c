#include "cells/real_npu.h"

#include "kernels/layers/layer_loop.h"

namespace mk::MK_ISA {

// One gate per input, shared by all outputs of a model.
constexpr LayerKernels<float> real_npu_float = layer_kernels<RealNpu<Signs::mixed>, float, false, 1>();
constexpr LayerKernels<double> real_npu_double = layer_kernels<RealNpu<Signs::mixed>, double, false, 1>();

}  // namespace mk::MK_ISA
