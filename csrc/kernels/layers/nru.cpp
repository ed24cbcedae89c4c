#include "cells/nru.h"

#include "kernels/layers/layer_loop.h"

namespace mk::MK_ISA {

MK_LAYER(nru, true, 0, Nru<false>)
MK_LAYER(nru_separate, true, 0, Nru<true>)

}  // namespace mk::MK_ISA
