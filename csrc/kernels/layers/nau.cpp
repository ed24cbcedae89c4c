#include "cells/nau.h"

#include "kernels/layers/layer_loop.h"

namespace mk::MK_ISA {

constexpr LayerKernels<float> nau_float = layer_kernels<Nau, float, false>();
constexpr LayerKernels<double> nau_double = layer_kernels<Nau, double, false>();

}  // namespace mk::MK_ISA
