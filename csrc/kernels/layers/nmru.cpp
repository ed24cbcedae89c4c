#include "cells/nmru.h"

#include "cells/nmru_gated.h"
#include "kernels/layers/layer_loop.h"

namespace mk::MK_ISA {

constexpr LayerKernels<float> nmru_float = layer_kernels<Nmru<true, Signs::mixed>, float, true>();
constexpr LayerKernels<double> nmru_double = layer_kernels<Nmru<true, Signs::mixed>, double, true>();
constexpr LayerKernels<float> nmru_unsigned_float = layer_kernels<Nmru<false, Signs::mixed>, float, true>();
constexpr LayerKernels<double> nmru_unsigned_double = layer_kernels<Nmru<false, Signs::mixed>, double, true>();
constexpr LayerKernels<float> nmru_gated_float = layer_kernels<NmruGated, float, true, 2>();
constexpr LayerKernels<double> nmru_gated_double = layer_kernels<NmruGated, double, true, 2>();

}  // namespace mk::MK_ISA
