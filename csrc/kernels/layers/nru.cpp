#include "cells/nru.h"

#include "kernels/layers/layer_loop.h"

namespace mk::MK_ISA {

constexpr LayerKernels<float> nru_float = layer_kernels<Nru<false>, float, true>();
constexpr LayerKernels<double> nru_double = layer_kernels<Nru<false>, double, true>();
constexpr LayerKernels<float> nru_separate_float = layer_kernels<Nru<true>, float, true>();
constexpr LayerKernels<double> nru_separate_double = layer_kernels<Nru<true>, double, true>();

}  // namespace mk::MK_ISA
