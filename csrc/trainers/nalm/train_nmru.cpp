#include "cells/nmru.h"

#include "cells/nmru_gated.h"
#include "trainers/nalm/train.h"

namespace mk::MK_ISA {

TrainTile* train_nmru(const Program& p) {
  if (p.cell == static_cast<int64_t>(Cell::nmru_gated)) return choose<NmruGated>(p);
  if (p.cell == static_cast<int64_t>(Cell::nmru_unsigned)) return choose<Nmru<false, Signs::mixed>>(p);
  return p.constant_signs ? choose<Nmru<true, Signs::constant>>(p) : choose<Nmru<true, Signs::mixed>>(p);
}

}  // namespace mk::MK_ISA
