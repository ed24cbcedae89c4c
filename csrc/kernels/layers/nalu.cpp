#include "cells/nalu.h"

#include "kernels/layers/layer_loop.h"

namespace mk::MK_ISA {

MK_LAYER(nalu, false, 0, Nalu<Paths::shared>)
MK_LAYER(nalu_separate, false, 0, Nalu<Paths::separate>)
MK_LAYER(nalu_nau_nmu, false, 0, Nalu<Paths::nau_nmu>)
MK_LAYER(gnalu, false, 0, Nalu<Paths::shared, Base::golden>)

}  // namespace mk::MK_ISA
