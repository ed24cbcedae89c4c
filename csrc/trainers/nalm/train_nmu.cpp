#include "cells/nmu.h"
#include "trainers/nalm/train.h"

namespace mk::MK_ISA {

TrainTile* train_nmu(const Program& p) { return choose<Nmu>(p); }

}  // namespace mk::MK_ISA
