#include "cells/nac_mul.h"

#include "kernels/layers/layer_loop.h"

namespace mk::MK_ISA {

constexpr LayerKernels<float> nac_mul_float = layer_kernels<NacMul<WeightForm::tanh_sigmoid>, float, false>();
constexpr LayerKernels<double> nac_mul_double = layer_kernels<NacMul<WeightForm::tanh_sigmoid>, double, false>();
constexpr LayerKernels<float> nac_sigma_float = layer_kernels<NacMul<WeightForm::sigmoid>, float, false>();
constexpr LayerKernels<double> nac_sigma_double = layer_kernels<NacMul<WeightForm::sigmoid>, double, false>();
constexpr LayerKernels<float> nac_nmu_float = layer_kernels<NacMul<WeightForm::linear>, float, false>();
constexpr LayerKernels<double> nac_nmu_double = layer_kernels<NacMul<WeightForm::linear>, double, false>();

}  // namespace mk::MK_ISA
