// Discretisation penalties of one weight and their slopes (Madsen & Johansen 2020; Mistry et al. 2021):
//   unit         min(|w|, |1 - w|)      zero at 0 and 1          (NMU, NMRU, gates)
//   ternary      min(|w|, |1 - |w||)    zero at -1, 0 and 1      (NAU, NRU, Real NPU with bias)
//   signed_unit  |1 - |w||              zero at -1 and 1         (Real NPU)
//   absolute     |w|                    zero at 0                (imaginary weights of the NPU)
//   distant      max(0, 20 - |w|)       zero from 20 on          (iNALU, Schloer et al. 2020)
// Slopes follow torch: 0 at every kink, and the mean of both sides where the two branches of min meet.
#pragma once
#include "cells/cell.h"
#include "common/enumerations.h"

namespace mk::MK_ISA {

constexpr double distant_from = 20;

template <class V>
MK_INLINE V penalty(Penalty kind, V w) {
  const V one = constant<V>(1), near = abs(w);
  if (kind == Penalty::none) return constant<V>(0);
  if (kind == Penalty::absolute) return near;
  if (kind == Penalty::distant) {
    const V missing = constant<V>(distant_from) - near;
    return select(missing < constant<V>(0), constant<V>(0), missing);
  }
  if (kind == Penalty::signed_unit) return abs(one - near);
  const V far = abs(one - (kind == Penalty::unit ? w : near));
  return select(near <= far, near, select(far == far, far, near));
}

template <class V>
MK_INLINE V penalty_slope(Penalty kind, V w) {
  const V zero = constant<V>(0), one = constant<V>(1), near = abs(w), to_zero = sign(w);
  if (kind == Penalty::none) return zero;
  if (kind == Penalty::absolute) return to_zero;
  if (kind == Penalty::distant) return select(near > constant<V>(distant_from), zero, -to_zero);
  const V to_one = kind == Penalty::unit ? -sign(one - w) : -(sign(one - near) * to_zero);
  if (kind == Penalty::signed_unit) return to_one;
  const V far = abs(one - (kind == Penalty::unit ? w : near));
  const V meeting = constant<V>(0.5) * (to_zero + to_one);
  return select(near < far, to_zero, select(near > far, to_one, meeting));
}

}  // namespace mk::MK_ISA
