// The target of a sample: what a task's operation makes of its operands a and b.
#pragma once
#include "cells/cell.h"
#include "trainers/nalm/program.h"

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

// The same of operands that may be sums: a sum of both signs can be exactly 0, and where that divides, `least` stands
// for it.  A single input is never 0.
template <class V>
MK_INLINE V apply_to_sums(Operation operation, V a, V b, V least) {
  const V zero = constant<V>(0);
  if (operation == Operation::div) b = select(b == zero, least, b);
  if (operation == Operation::reciprocal) a = select(a == zero, least, a);
  return apply(operation, a, b);
}

}  // namespace mk::MK_ISA
