#include "cells/nru.h"
#include "ensemble/train.h"

namespace mk::MK_ISA {

TrainTile* train_nru(const Program& p) { return choose<Nru>(p); }

}  // namespace mk::MK_ISA
