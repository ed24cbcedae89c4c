#include "cells/lstm.h"

#include "kernels/sequences/kernels.h"

namespace mk::MK_ISA {

constexpr SequenceKernels<float> lstm_float = Sequence<Lstm, float>::kernels;
constexpr SequenceKernels<double> lstm_double = Sequence<Lstm, double>::kernels;

}  // namespace mk::MK_ISA
