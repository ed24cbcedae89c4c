#include "cells/nac_mul.h"

#include "kernels/layers/layer_loop.h"

namespace mk::MK_ISA {

MK_LAYER(nac_mul, false, 0, NacMul<WeightForm::tanh_sigmoid>)
MK_LAYER(nac_sigma, false, 0, NacMul<WeightForm::sigmoid>)
MK_LAYER(nac_nmu, false, 0, NacMul<WeightForm::linear>)

}  // namespace mk::MK_ISA
