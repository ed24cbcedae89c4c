#include "cells/real_npu.h"
#include "ensemble/train.h"

namespace mk::MK_ISA {

TrainTile* train_real_npu(const Program& p) {
  return p.constant_signs ? choose<RealNpu<Signs::constant>>(p) : choose<RealNpu<Signs::mixed>>(p);
}

}  // namespace mk::MK_ISA
