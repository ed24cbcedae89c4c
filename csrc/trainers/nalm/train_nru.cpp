#include "cells/nru.h"
#include "trainers/nalm/train.h"

namespace mk::MK_ISA {

// Whether every input is a normal number and every |w| at most 1, so that powers have no special cases.  The smallest
// input is half a step of the integers that it is made of; other distributions have no numbers near 0 but steps of
// theirs, and none below 1e-30.
static bool plain_powers(const Program& p) {
  if (!p.group[0].clamped || p.group[0].low < -1 || p.group[0].high > 1) return false;
  const int64_t count = p.tiles * p.inputs * tile_models;
  for (int64_t k = 0; k < count; ++k) {
    const float scale = p.dtype == 0 ? static_cast<const float*>(p.scale)[k] : 0.0f;
    if (scale != 0 && scale < 1e-36f) return false;  // 0 beyond the last model of a tile
  }
  return true;
}

TrainTile* train_nru(const Program& p) {
  if (!plain_powers(p)) return nullptr;
  return p.cell == static_cast<int64_t>(Cell::nru) ? choose<Nru<false, Domain::normal>>(p)
                                                   : choose<Nru<true, Domain::normal>>(p);
}

}  // namespace mk::MK_ISA
