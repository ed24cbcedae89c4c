#include "cells/nalu.h"

#include "kernels/layers/layer_loop.h"

namespace mk::MK_ISA {

constexpr LayerKernels<float> nalu_float = layer_kernels<Nalu<Paths::shared>, float, false>();
constexpr LayerKernels<double> nalu_double = layer_kernels<Nalu<Paths::shared>, double, false>();
constexpr LayerKernels<float> nalu_separate_float = layer_kernels<Nalu<Paths::separate>, float, false>();
constexpr LayerKernels<double> nalu_separate_double = layer_kernels<Nalu<Paths::separate>, double, false>();
constexpr LayerKernels<float> nalu_nau_nmu_float = layer_kernels<Nalu<Paths::nau_nmu>, float, false>();
constexpr LayerKernels<double> nalu_nau_nmu_double = layer_kernels<Nalu<Paths::nau_nmu>, double, false>();
constexpr LayerKernels<float> gnalu_float = layer_kernels<Nalu<Paths::shared, Base::golden>, float, false>();
constexpr LayerKernels<double> gnalu_double = layer_kernels<Nalu<Paths::shared, Base::golden>, double, false>();

}  // namespace mk::MK_ISA
