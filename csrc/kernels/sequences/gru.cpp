#include "cells/gru.h"

#include "kernels/sequences/kernels.h"

namespace mk::MK_ISA {

MK_SEQUENCE(gru, Gru)

}  // namespace mk::MK_ISA
