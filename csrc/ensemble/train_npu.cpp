#include "cells/npu.h"
#include "ensemble/train.h"

namespace mk::MK_ISA {

TrainTile* train_npu(const Program& p) { return choose<Npu>(p); }

}  // namespace mk::MK_ISA
