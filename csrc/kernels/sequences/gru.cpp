#include "cells/gru.h"

#include "kernels/sequences/kernels.h"

namespace mk::MK_ISA {

constexpr SequenceKernels<float> gru_float = Sequence<Gru, float>::kernels;
constexpr SequenceKernels<double> gru_double = Sequence<Gru, double>::kernels;

}  // namespace mk::MK_ISA
