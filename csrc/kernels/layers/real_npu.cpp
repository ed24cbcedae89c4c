#include "cells/real_npu.h"

#include "kernels/layers/layer_loop.h"

namespace mk::MK_ISA {

// One gate per input, shared by all outputs of a model.
MK_LAYER(real_npu, false, 1, RealNpu<Signs::mixed>)

}  // namespace mk::MK_ISA
