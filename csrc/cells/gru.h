// GRU, as torch.nn.GRU writes it: one unit of one sample (docs/sequences.md).
//
//   r, z = sigmoid of their sums;  n = tanh(n_x + r n_h);  h' = n + z (h - n)
//
// n_x and n_h are the new gate's products with x and with h, each with its own bias.  The sums stand in the order
// n_h, r, z, n_x, so that those with products of h come first and those with products of x last.
#pragma once
#include "cells/gates.h"

namespace mk::MK_ISA {

struct Gru {
  static constexpr int gates = 3;
  static constexpr bool carries_h = true;
  static constexpr int input_sums[4] = {-1, 0, 1, 2};
  static constexpr int recurrent_sums[4] = {2, 0, 1, -1};

  template <class V>
  struct Step {
    V carried, h;
  };

  // kept: r, z, n, n_h
  template <class V>
  static MK_INLINE Step<V> forward(const V (&sums)[4], V carried, V (&kept)[4]) {
    const auto reset_update = gate_sigmoids(sums[1], sums[2]);
    kept[0] = reset_update.first;
    kept[1] = reset_update.second;
    kept[2] = gate_tanh(fma(kept[0], sums[0], sums[3]));
    kept[3] = sums[0];
    const V h = fma(kept[1], carried - kept[2], kept[2]);
    return {h, h};
  }

  template <class V>
  struct Gradients {
    V carried;  // the part of dh before the step that does not go through the products
  };

  // dcarried is zero: everything arrives with dh.
  template <class V>
  static MK_INLINE Gradients<V> backward(const V (&kept)[4], V before, V, V dh, V, V (&dsums)[4]) {
    const V one = splat<V>(1), r = kept[0], z = kept[1], n = kept[2];
    dsums[3] = dh * (one - z) * fma(-n, n, one);
    dsums[0] = dsums[3] * r;
    dsums[1] = dsums[3] * kept[3] * (r * (one - r));
    dsums[2] = dh * (before - n) * (z * (one - z));
    return {dh * z};
  }
};

}  // namespace mk::MK_ISA
