#include "cells/nru.h"

#include "kernels/layer_loop.h"

namespace mk::MK_ISA {

constexpr LayerKernels<float> nru_float = layer_kernels<Nru<false>, float, true>();
constexpr LayerKernels<double> nru_double = layer_kernels<Nru<false>, double, true>();

}  // namespace mk::MK_ISA
