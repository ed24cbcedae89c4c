#include "trainers/nalm/train_any.h"

namespace mk::MK_ISA {

template <class R>
static int64_t scratch_bytes(const Program& p) {
  const Layers<R> layers(p);
  return layers.exist() ? AnyScratch<R>(p, layers, nullptr).bytes : 0;
}

int64_t any_scratch_bytes(const Program& p) {
  return p.dtype == 0 ? scratch_bytes<float>(p) : scratch_bytes<double>(p);
}

TrainTile* train_any(const Program& p) {
  if (p.dtype == 0) return Layers<float>(p).exist() ? train_any_tile<float> : nullptr;
  return Layers<double>(p).exist() ? train_any_tile<double> : nullptr;
}

}  // namespace mk::MK_ISA
