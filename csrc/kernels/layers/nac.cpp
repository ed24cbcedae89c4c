#include "cells/nac.h"

#include "kernels/layers/layer_loop.h"

namespace mk::MK_ISA {

MK_LAYER(nac, false, 0, Nac)

}  // namespace mk::MK_ISA
