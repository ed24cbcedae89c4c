#include "cells/lstm.h"

#include "kernels/sequences/kernels.h"

namespace mk::MK_ISA {

MK_SEQUENCE(lstm, Lstm)

}  // namespace mk::MK_ISA
