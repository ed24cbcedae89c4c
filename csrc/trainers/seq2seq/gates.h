// The pointwise part of an LSTM step for one unit and a block of samples, forward and backward.
//   i, f, o = sigmoid(z), g = tanh(z)     c = f c' + i g     h = o tanh(c)
#pragma once
#include "trainers/seq2seq/activations.h"

namespace mk::MK_ISA {

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

// z [4][S], scaled as activations.h says, becomes the activated gates.  before: the cells before, or null where they
// are zero. input(gate, s) is what stands beside the recurrent product; with `recurrent` false it stands alone.
template <class T, bool recurrent, class Input>
MK_INLINE void gates_forward(const Input& input, T* z, const T* before, T* cell, T* tanh_cell, T* state) {
  using V = Pack<T>;
  for (int64_t s = 0; s < S; s += Number<V>::width) {
    V sum[gates];
    for (int g = 0; g < gates; ++g) {
      sum[g] = input(g, s);
      if (recurrent) sum[g] = sum[g] + V::load(z + g * S + s);
    }
    const Gates<V> a = activated(sum);
    const V c = recurrent ? fma(a.f, V::load(before + s), a.i * a.g) : a.i * a.g;
    const V t = cell_tanh(c);
    a.i.store(z + s);
    a.f.store(z + S + s);
    a.g.store(z + 2 * S + s);
    a.o.store(z + 3 * S + s);
    c.store(cell + s);
    t.store(tanh_cell + s);
    (a.o * t).store(state + s);
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
    const V dc = fma(dh * o, fma(-t, t, one), V::load(dcell + s));
    (dc * g * fma(-i, i, i)).store(dz + s);
    (recurrent ? dc * V::load(before + s) * fma(-f, f, f) : splat<V>(T(0))).store(dz + S + s);
    (dc * i * fma(-g, g, one)).store(dz + 2 * S + s);
    (dh * t * fma(-o, o, o)).store(dz + 3 * S + s);
    if (recurrent) (dc * f).store(dcell + s);
  }
}

}  // namespace mk::MK_ISA
