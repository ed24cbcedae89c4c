#include "cells/real_npu.h"
#include "ensemble/train.h"

namespace mk::MK_ISA {

template <Domain domain>
static TrainTile* choose_signs(const Program& p) {
  if (p.constant_signs) return choose<RealNpu<Signs::constant, domain>>(p);
  return choose<RealNpu<Signs::mixed, domain>>(p);
}

TrainTile* train_real_npu(const Program& p) {
  // the smallest r is epsilon; without one an input of 0 has the logarithm -inf
  return p.epsilon > 1e-30 ? choose_signs<Domain::normal>(p) : choose_signs<Domain::any>(p);
}

}  // namespace mk::MK_ISA
