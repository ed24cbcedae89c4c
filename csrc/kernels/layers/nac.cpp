#include "cells/nac.h"

#include "kernels/layers/layer_loop.h"

namespace mk::MK_ISA {

constexpr LayerKernels<float> nac_float = layer_kernels<Nac, float, false>();
constexpr LayerKernels<double> nac_double = layer_kernels<Nac, double, false>();

}  // namespace mk::MK_ISA
