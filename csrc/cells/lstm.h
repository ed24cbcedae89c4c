// LSTM, as torch.nn.LSTM writes it: one unit of one sample (docs/sequences.md).
//
//   i, f, o = sigmoid of their sums, g = tanh of its sum;  c' = f c + i g;  h' = o tanh(c')
//
// A cell of sequences has four sums per unit, which stand together as `sums` below; `carried` is the state that goes
// from step to step lane by lane (here c), besides h, which goes through the products.
#pragma once
#include "cells/gates.h"

namespace mk::MK_ISA {

// Gates: the functions, PairedGates or ScaledGates (scaled_gates.h).
template <class Gates>
struct LstmWith {
  static constexpr int gates = 4;                         // blocks of rows in the weights
  static constexpr bool carries_h = false;                // the carried state is c
  static constexpr int input_sums[4] = {0, 1, 2, 3};      // the gate whose input products go into each sum, -1 for none
  static constexpr int recurrent_sums[4] = {0, 1, 2, 3};  // likewise for the products with h

  template <class V>
  struct Step {
    V carried, h, tanh_carried;
  };

  // kept: what backward needs.
  template <class V>
  static MK_INLINE Step<V> forward(const V (&sums)[4], V carried, V (&kept)[4]) {
    Gates::all(sums, kept);
    const V c = fma(kept[1], carried, kept[0] * kept[2]);
    const V t = Gates::tanh_of_state(c);
    return {c, kept[3] * t, t};
  }

  template <class V>
  struct Gradients {
    V carried;  // of the carried state before the step
  };

  // From dh and dcarried, the gradients of h' and c', to those of the sums and of the state before the step.
  template <class V>
  static MK_INLINE Gradients<V> backward(const V (&kept)[4], V before, V after, V dh, V dcarried, V (&dsums)[4]) {
    return backward_with_tanh(kept, before, Gates::tanh_of_state(after), dh, dcarried, dsums);
  }

  // The same where tanh c' has been kept; sums that were scaled have gradients as if they were not.
  template <class V>
  static MK_INLINE Gradients<V> backward_with_tanh(const V (&kept)[4], V before, V t, V dh, V dcarried, V (&dsums)[4]) {
    const V one = splat<V>(1);
    const V i = kept[0], f = kept[1], g = kept[2], o = kept[3];
    const V dc = fma(dh * o, fma(-t, t, one), dcarried);
    dsums[0] = dc * g * (i * (one - i));
    dsums[1] = dc * before * (f * (one - f));
    dsums[2] = dc * i * fma(-g, g, one);
    dsums[3] = dh * t * (o * (one - o));
    return {dc * f};
  }
};

using Lstm = LstmWith<PairedGates>;

}  // namespace mk::MK_ISA
