#include "cells/inalu.h"

#include "kernels/layers/layer_loop.h"

namespace mk::MK_ISA {

constexpr LayerKernels<float> inalu_float = layer_kernels<Inalu, float, false>();
constexpr LayerKernels<double> inalu_double = layer_kernels<Inalu, double, false>();

}  // namespace mk::MK_ISA
