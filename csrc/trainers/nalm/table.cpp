// The ensemble kernels of one instruction set.
#include "trainers/nalm/cell_ops.h"

namespace mk::MK_ISA {

static TrainTile* train_one_cell(const Program& p) {
  switch (static_cast<Cell>(p.cell)) {
    case Cell::nau:
      return train_nau(p);
    case Cell::nmu:
      return train_nmu(p);
    case Cell::npu:
      return train_npu(p);
    case Cell::real_npu:
      return train_real_npu(p);
    case Cell::nru:
    case Cell::nru_separate:
      return train_nru(p);
    case Cell::nmru:
    case Cell::nmru_unsigned:
    case Cell::nmru_gated:
      return train_nmru(p);
    default:
      return nullptr;
  }
}

static TrainTile* train(const Program& p) {
  TrainTile* one = p.hidden == 0 ? train_one_cell(p) : nullptr;
  return one != nullptr ? one : train_any(p);
}

// The larger of what the two kinds of trainers need: the choice between them depends on the instruction set.
static int64_t scratch(const Program& p) {
  const int64_t real = p.dtype == 0 ? 4 : 8, streams = real * p.batch * (p.inputs * tile_models + 2) + 64;
  const int64_t any = any_scratch_bytes(p);
  return streams > any ? streams : any;
}

const EnsembleKernels ensemble_kernels{&train, &scratch, sizeof(CellOps<float>), vector_bytes};

}  // namespace mk::MK_ISA
