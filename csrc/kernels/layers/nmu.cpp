#include "cells/nmu.h"

#include "kernels/layers/layer_loop.h"

namespace mk::MK_ISA {

MK_LAYER(nmu, false, 0, Nmu)

}  // namespace mk::MK_ISA
