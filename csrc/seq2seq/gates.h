// The pointwise part of an LSTM step for one unit and a block of samples, forward and backward.
//   i, f, o = sigmoid(z), g = tanh(z)     c = f c' + i g     h = o tanh(c)
#pragma once
#include "common/math.h"
#include "seq2seq/memory.h"

namespace mk::MK_ISA {

// table [row] at whole numbers in [0, row), lane by lane.
template <class V>
MK_INLINE V look_up(const Real<V>* table, int64_t row, const typename IntOf<Real<V>>::type* index) {
  constexpr int W = Number<V>::width;
#if defined(__AVX512F__)
  if constexpr (W == 16) {
    __m512i at;
    __builtin_memcpy(&at, index, sizeof at);
    if (row == 16) return {_mm512_permutexvar_ps(at, V::load(table).raw)};
    if (row == 32) return {_mm512_permutex2var_ps(V::load(table).raw, at, V::load(table + 16).raw)};
  }
#endif
  (void)row;
  V v;
  for (int lane = 0; lane < W; ++lane)
    __builtin_memcpy(reinterpret_cast<char*>(&v) + lane * sizeof(Real<V>), table + index[lane], sizeof(Real<V>));
  return v;
}

// z [4][S] becomes the activated gates.  before: the cells before, or null where they are zero.
// input(gate, s) is what stands beside the recurrent product; with `recurrent` false it stands alone.
template <class T, bool recurrent, class Input>
MK_INLINE void gates_forward(const Input& input, T* z, const T* before, T* cell, T* tanh_cell, T* state) {
  using V = Pack<T>;
  for (int64_t s = 0; s < S; s += Number<V>::width) {
    V sum[gates];
    for (int g = 0; g < gates; ++g) {
      sum[g] = input(g, s);
      if (recurrent) sum[g] = sum[g] + V::load(z + g * S + s);
    }
    const V i = sigmoid(sum[0]), f = sigmoid(sum[1]), g = tanh(sum[2]), o = sigmoid(sum[3]);
    const V c = recurrent ? fma(f, V::load(before + s), i * g) : i * g;
    const V t = tanh(c);
    i.store(z + s);
    f.store(z + S + s);
    g.store(z + 2 * S + s);
    o.store(z + 3 * S + s);
    c.store(cell + s);
    t.store(tanh_cell + s);
    (o * t).store(state + s);
  }
}

// dz [4][S] from the gates; dcell is read and becomes the gradient of the cells before.  dstate(s) is what arrives.
template <class T, bool recurrent, class Arriving>
MK_INLINE void gates_backward(const Arriving& dstate, const T* z, const T* before, const T* tanh_cell, T* dcell,
                              T* dz) {
  using V = Pack<T>;
  const V one = splat<V>(T(1));
  for (int64_t s = 0; s < S; s += Number<V>::width) {
    const V i = V::load(z + s), f = V::load(z + S + s), g = V::load(z + 2 * S + s), o = V::load(z + 3 * S + s);
    const V t = V::load(tanh_cell + s), dh = dstate(s);
    const V dc = fma(dh * o, one - t * t, V::load(dcell + s));
    (dc * g * (i * (one - i))).store(dz + s);
    (recurrent ? dc * V::load(before + s) * (f * (one - f)) : splat<V>(T(0))).store(dz + S + s);
    (dc * i * (one - g * g)).store(dz + 2 * S + s);
    (dh * t * (o * (one - o))).store(dz + 3 * S + s);
    if (recurrent) (dc * f).store(dcell + s);
  }
}

}  // namespace mk::MK_ISA
