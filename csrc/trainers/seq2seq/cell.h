// One step of the LSTM's cell for a unit and a block of samples, forward and backward, and the table of the encoder's
// inputs.
#pragma once
#include "cells/lstm.h"
#include "cells/scaled_gates.h"
#include "trainers/seq2seq/memory.h"

namespace mk::MK_ISA {

using ScaledLstm = LstmWith<ScaledGates>;

// Tables that permutations of registers can read: of up to this many packs.
#if defined(__AVX512F__)
constexpr int most_table_packs = 2;
#else
constexpr int most_table_packs = 0;
#endif

// A table at whole numbers, lane by lane.  packs: how many packs long it is, or 0 for any length.
template <class V, int packs>
MK_INLINE V look_up(const Real<V>* table, const typename IntOf<Real<V>>::type* index) {
  constexpr int W = Number<V>::width;
#if defined(__AVX512F__)
  if constexpr (W == 16 && packs > 0) {
    __m512i at;
    __builtin_memcpy(&at, index, sizeof at);
    if constexpr (packs == 1) return {_mm512_permutexvar_ps(at, V::load(table).raw)};
    return {_mm512_permutex2var_ps(V::load(table).raw, at, V::load(table + 16).raw)};
  }
#endif
  V v;
  for (int lane = 0; lane < W; ++lane)
    __builtin_memcpy(reinterpret_cast<char*>(&v) + lane * sizeof(Real<V>), table + index[lane], sizeof(Real<V>));
  return v;
}

// sums [4][S], scaled as the cell's gates want them, become the gates.  before: the cells before, or null where they
// are zero.  input(slot, s) is what stands beside the recurrent product; with `recurrent` false it stands alone.
template <class T, bool recurrent, class Input>
MK_INLINE void unit_forward(const Input& input, T* sums, const T* before, T* cell, T* tanh_cell, T* state) {
  using V = Pack<T>;
  for (int64_t s = 0; s < S; s += Number<V>::width) {
    V z[gate_count], kept[gate_count];
    for (int slot = 0; slot < gate_count; ++slot) {
      z[slot] = input(slot, s);
      if (recurrent) z[slot] = z[slot] + V::load(sums + slot * S + s);
    }
    const auto next = ScaledLstm::forward(z, recurrent ? V::load(before + s) : splat<V>(T(0)), kept);
    for (int slot = 0; slot < gate_count; ++slot) kept[slot].store(sums + slot * S + s);
    next.carried.store(cell + s);
    next.tanh_carried.store(tanh_cell + s);
    next.h.store(state + s);
  }
}

// dsums [4][S] from the gates; dcell is read and becomes the gradient of the cells before.  dstate(s) is what arrives.
template <class T, bool recurrent, class Arriving>
MK_INLINE void unit_backward(const Arriving& dstate, const T* kept_gates, const T* before, const T* tanh_cell, T* dcell,
                             T* dsums) {
  using V = Pack<T>;
  for (int64_t s = 0; s < S; s += Number<V>::width) {
    V kept[gate_count], made[gate_count];
    for (int slot = 0; slot < gate_count; ++slot) kept[slot] = V::load(kept_gates + slot * S + s);
    const auto next = ScaledLstm::backward_with_tanh(kept, recurrent ? V::load(before + s) : splat<V>(T(0)),
                                                     V::load(tanh_cell + s), dstate(s), V::load(dcell + s), made);
    for (int slot = 0; slot < gate_count; ++slot) made[slot].store(dsums + slot * S + s);
    if (recurrent) next.carried.store(dcell + s);
  }
}

}  // namespace mk::MK_ISA
