// Every cell of the program's enumeration, for the tables of cells_float.cpp and cells_double.cpp.
#pragma once
#include "cells/inalu.h"
#include "cells/linear.h"
#include "cells/nac.h"
#include "cells/nac_mul.h"
#include "cells/nalu.h"
#include "cells/nau.h"
#include "cells/nmru.h"
#include "cells/nmru_gated.h"
#include "cells/nmu.h"
#include "cells/npu.h"
#include "cells/nru.h"
#include "cells/real_npu.h"
#include "trainers/nalm/cell_ops.h"

namespace mk::MK_ISA {

template <class R>
const CellOps<R>* find_cell(Cell cell) {
  switch (cell) {
    case Cell::nau:
      return &CellFunctions<Nau, R>::table;
    case Cell::nmu:
      return &CellFunctions<Nmu, R>::table;
    case Cell::real_npu:
      return &CellFunctions<RealNpu<Signs::mixed>, R>::table;
    case Cell::nru:
      return &CellFunctions<Nru<false>, R>::table;
    case Cell::nmru:
      return &CellFunctions<Nmru<true, Signs::mixed>, R>::table;
    case Cell::nmru_unsigned:
      return &CellFunctions<Nmru<false, Signs::mixed>, R>::table;
    case Cell::nmru_gated:
      return &CellFunctions<NmruGated, R>::table;
    case Cell::nru_separate:
      return &CellFunctions<Nru<true>, R>::table;
    case Cell::npu:
      return &CellFunctions<Npu<>, R>::table;
    case Cell::linear:
      return &CellFunctions<Linear<Activation::none>, R>::table;
    case Cell::relu:
      return &CellFunctions<Linear<Activation::relu>, R>::table;
    case Cell::relu6:
      return &CellFunctions<Linear<Activation::relu6>, R>::table;
    case Cell::nac:
      return &CellFunctions<Nac, R>::table;
    case Cell::nac_mul:
      return &CellFunctions<NacMul<WeightForm::tanh_sigmoid>, R>::table;
    case Cell::nac_sigma:
      return &CellFunctions<NacMul<WeightForm::sigmoid>, R>::table;
    case Cell::nac_nmu:
      return &CellFunctions<NacMul<WeightForm::linear>, R>::table;
    case Cell::nalu:
      return &CellFunctions<Nalu<Paths::shared>, R>::table;
    case Cell::nalu_separate:
      return &CellFunctions<Nalu<Paths::separate>, R>::table;
    case Cell::nalu_nau_nmu:
      return &CellFunctions<Nalu<Paths::nau_nmu>, R>::table;
    case Cell::gnalu:
      return &CellFunctions<Nalu<Paths::shared, Base::golden>, R>::table;
    case Cell::inalu:
      return &CellFunctions<Inalu, R>::table;
    case Cell::custom:
      return nullptr;
  }
  return nullptr;
}

}  // namespace mk::MK_ISA
