#include "cells/nru.h"

#include "kernels/layer_loop.h"

namespace mk::MK_ISA {

constexpr LayerKernels<float> nru_float = layer_kernels<Nru, float, true>();
constexpr LayerKernels<double> nru_double = layer_kernels<Nru, double, true>();

}  // namespace mk::MK_ISA
