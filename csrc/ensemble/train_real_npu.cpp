#include "cells/real_npu.h"
#include "ensemble/train.h"

namespace mk::MK_ISA {

template <Signs signs>
static TrainTile* choose_domain(const Program& p) {
  // the smallest r is epsilon; without one an input of 0 has the logarithm -inf
  const bool normal = p.epsilon > 1e-30;
  return choose<RealNpu<signs, Domain::any>, RealNpu<signs, Domain::normal>>(p, normal);
}

TrainTile* train_real_npu(const Program& p) {
  return p.constant_signs ? choose_domain<Signs::constant>(p) : choose_domain<Signs::mixed>(p);
}

}  // namespace mk::MK_ISA
