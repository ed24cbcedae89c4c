#include "trainers/nalm/cells.h"

namespace mk::MK_ISA {

const CellOps<float>* float_cell(Cell cell) { return find_cell<float>(cell); }

}  // namespace mk::MK_ISA
