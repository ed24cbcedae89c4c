// LSTM, as torch.nn.LSTM writes it: one unit of one sample (docs/sequences.md).
//
//   i, f, o = sigmoid of their sums, g = tanh of its sum;  c' = f c + i g;  h' = o tanh(c')
//
// A cell of sequences has four sums per unit, which stand together as `sums` below; `carried` is the state that goes
// from step to step lane by lane (here c), besides h, which goes through the products.
#pragma once
#include "cells/gates.h"

namespace mk::MK_ISA {

struct Lstm {
  static constexpr int gates = 4;                         // blocks of rows in the weights
  static constexpr bool carries_h = false;                // the carried state is c
  static constexpr int input_sums[4] = {0, 1, 2, 3};      // the gate whose input products go into each sum, -1 for none
  static constexpr int recurrent_sums[4] = {0, 1, 2, 3};  // likewise for the products with h

  template <class V>
  struct Step {
    V carried, h;
  };

  // kept: what backward needs.
  template <class V>
  static MK_INLINE Step<V> forward(const V (&sums)[4], V carried, V (&kept)[4]) {
    const auto input_forget = gate_sigmoids(sums[0], sums[1]);
    const auto output_new = gate_sigmoid_and_tanh(sums[3], sums[2]);
    kept[0] = input_forget.first;
    kept[1] = input_forget.second;
    kept[2] = output_new.second;
    kept[3] = output_new.first;
    const V c = fma(kept[1], carried, kept[0] * kept[2]);
    return {c, kept[3] * gate_tanh(c)};
  }

  template <class V>
  struct Gradients {
    V carried;  // of the carried state before the step
  };

  // From dh and dcarried, the gradients of h' and c', to those of the sums and of the state before the step.
  template <class V>
  static MK_INLINE Gradients<V> backward(const V (&kept)[4], V before, V after, V dh, V dcarried, V (&dsums)[4]) {
    const V one = splat<V>(1), t = gate_tanh(after);
    const V i = kept[0], f = kept[1], g = kept[2], o = kept[3];
    const V dc = fma(dh * o, fma(-t, t, one), dcarried);
    dsums[0] = dc * g * (i * (one - i));
    dsums[1] = dc * before * (f * (one - f));
    dsums[2] = dc * i * fma(-g, g, one);
    dsums[3] = dh * t * (o * (one - o));
    return {dc * f};
  }
};

}  // namespace mk::MK_ISA
