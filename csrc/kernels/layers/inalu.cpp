#include "cells/inalu.h"

#include "kernels/layers/layer_loop.h"

namespace mk::MK_ISA {

MK_LAYER(inalu, false, 0, Inalu)

}  // namespace mk::MK_ISA
