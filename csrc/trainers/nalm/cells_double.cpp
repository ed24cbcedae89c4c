#include "trainers/nalm/cells.h"

namespace mk::MK_ISA {

const CellOps<double>* double_cell(Cell cell) { return find_cell<double>(cell); }

}  // namespace mk::MK_ISA
