#include "cells/nau.h"

#include "kernels/layers/layer_loop.h"

namespace mk::MK_ISA {

MK_LAYER(nau, false, 0, Nau)

}  // namespace mk::MK_ISA
