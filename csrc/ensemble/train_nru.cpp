#include "cells/nru.h"
#include "ensemble/train.h"

namespace mk::MK_ISA {

TrainTile* train_nru(const Program& p) {
  return p.cell == static_cast<int64_t>(Cell::nru) ? choose<Nru<false>>(p) : choose<Nru<true>>(p);
}

}  // namespace mk::MK_ISA
