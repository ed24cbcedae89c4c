// The ensemble kernels of one instruction set.
#include "ensemble/program.h"

namespace mk::MK_ISA {

static TrainTile* train(const Program& p) {
  switch (static_cast<Cell>(p.cell)) {
    case Cell::nau:
      return train_nau(p);
    case Cell::nmu:
      return train_nmu(p);
    case Cell::real_npu:
      return train_real_npu(p);
    case Cell::npu:
      return train_npu(p);
    case Cell::nru:
    case Cell::nru_separate:
      return train_nru(p);
    case Cell::nmru:
    case Cell::nmru_unsigned:
    case Cell::nmru_gated:
      return train_nmru(p);
  }
  return nullptr;
}

extern const EnsembleKernels ensemble_kernels;
const EnsembleKernels ensemble_kernels{&train};

}  // namespace mk::MK_ISA
