#include "cells/nau.h"
#include "trainers/nalm/train.h"

namespace mk::MK_ISA {

TrainTile* train_nau(const Program& p) { return choose<Nau>(p); }

}  // namespace mk::MK_ISA
