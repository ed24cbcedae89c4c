#include "cells/npu.h"

#include "kernels/layers/layer_loop.h"

namespace mk::MK_ISA {

MK_LAYER(npu, false, 1, Npu<>)

}  // namespace mk::MK_ISA
