// The target of a sample: what a task's operation makes of its operands a and b.
#pragma once
#include "cells/cell.h"
#include "ensemble/program.h"

namespace mk::MK_ISA {

template <class V>
MK_INLINE V apply(Operation operation, V a, V b) {
  switch (operation) {
    case Operation::div:
      return a / b;
    case Operation::mul:
      return a * b;
    case Operation::add:
      return a + b;
    case Operation::sub:
      return a - b;
    case Operation::reciprocal:
      return constant<V>(1) / a;
    case Operation::squared:
      return a * a;
    default:
      return sqrt(a);
  }
}

}  // namespace mk::MK_ISA
