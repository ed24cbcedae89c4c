#include "cells/nmu.h"

#include "kernels/layers/layer_loop.h"

namespace mk::MK_ISA {

constexpr LayerKernels<float> nmu_float = layer_kernels<Nmu, float, false>();
constexpr LayerKernels<double> nmu_double = layer_kernels<Nmu, double, false>();

}  // namespace mk::MK_ISA
