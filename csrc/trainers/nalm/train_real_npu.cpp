#include "cells/real_npu.h"
#include "trainers/nalm/train.h"

namespace mk::MK_ISA {

TrainTile* train_real_npu(const Program& p) {
  if (p.epsilon <= 1e-30) return nullptr;  // the smallest r is epsilon; without one an input of 0 has no logarithm
  return p.constant_signs ? choose<RealNpu<Signs::constant, Domain::normal>>(p)
                          : choose<RealNpu<Signs::mixed, Domain::normal>>(p);
}

}  // namespace mk::MK_ISA
