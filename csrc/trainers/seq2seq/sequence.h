// The two LSTM layers, one direction and one block of samples at a time, forward and backward, in float or double.
#pragma once
#include "trainers/seq2seq/cell.h"
#include "trainers/seq2seq/norm.h"
#include "trainers/seq2seq/products.h"

namespace mk::MK_ISA {

template <class T>
void read_token_ids(const Team<T>& team, int64_t b, int direction, const Saved<T>& saved) {
  const int64_t steps = team.z.Tin, valid = team.valid(b);
  for (int64_t s = 0; s < S; ++s) {
    const int8_t* from = s < valid ? team.p.inputs + team.row(b, s) * steps : nullptr;
    for (int64_t k = 0; k < steps; ++k) saved.token_ids[k * S + s] = from ? from[direction ? steps - 1 - k : k] + 1 : 0;
  }
}

// One step of all units: the recurrent product, then the gates.  input(row of gates, s) is what stands beside it.
template <class T, class Input>
MK_INLINE void step_forward(const Sizes& z, const T* recurrent, const Saved<T>& saved, int64_t k, const Input& input) {
  T* gate = saved.gates + k * z.G * S;
  T *cell = saved.cells + k * z.H * S, *tanh_cell = saved.tanh_cells + k * z.H * S;
  T* state = saved.states + k * saved.state_step;
  if (k > 0) product_of_samples(z.G, z.H, recurrent, state - saved.state_step, gate);
  for (int64_t u = 0; u < z.H; ++u) {
    const auto of_unit = [&](int g, int64_t s) { return input(u * gate_count + g, s); };
    T* at = gate + u * gate_count * S;
    if (k > 0)
      unit_forward<T, true>(of_unit, at, cell - z.H * S + u * S, cell + u * S, tanh_cell + u * S, state + u * S);
    else
      unit_forward<T, false>(of_unit, at, nullptr, cell + u * S, tanh_cell + u * S, state + u * S);
  }
}

template <class T, int packs>
void encode_steps(const Sizes& z, const typename Packed<T>::Direction& weights, const Saved<T>& saved) {
  const T* table = weights.table;
  const int64_t table_row = packs > 0 ? packs * Number<Pack<T>>::width : z.table_row;
  for (int64_t k = 0; k < z.Tin; ++k) {
    const auto* token_ids = saved.token_ids + k * S;
    step_forward(z, weights.recurrent, saved, k, [=](int64_t row, int64_t s) {
      return look_up<Pack<T>, packs>(table + row * table_row, token_ids + s);
    });
  }
}

template <class T>
void encode_block(const Team<T>& team, int64_t b, int direction) {
  const SampleBlock<T> block = team.block(b);
  const Saved<T>& saved = block.encoder[direction];
  const auto& weights = team.packed.encoder[direction];
  read_token_ids(team, b, direction, saved);
  const int64_t packs = team.z.table_row / Number<Pack<T>>::width;
  if (packs == 1 && is_float<T> && most_table_packs > 0)
    encode_steps<T, 1>(team.z, weights, saved);
  else if (packs == 2 && is_float<T> && most_table_packs > 0)
    encode_steps<T, 2>(team.z, weights, saved);
  else
    encode_steps<T, 0>(team.z, weights, saved);
}

template <class T>
const T* last_states(const Sizes& z, const SampleBlock<T>& block, int direction) {
  return block.encoder[direction].states + (z.Tin - 1) * z.H * S;
}

template <class T>
void normalise_encoded(const Sizes& z, const SampleBlock<T>& block, const Normalisation<T>& norm, T* out) {
  for (int d = 0; d < 2; ++d) normalise(d * z.H, z.H, norm, last_states(z, block, d), out + d * z.H * S);
}

// scratch.norm holds the first norm.
template <class T>
void decode_block(const Team<T>& team, int64_t b, int direction, const Scratch<T>& scratch) {
  using V = Pack<T>;
  const Sizes& z = team.z;
  const SampleBlock<T> block = team.block(b);
  const auto& weights = team.packed.decoder[direction];
  normalise_encoded(z, block, Normalisation<T>(scratch), scratch.normed);
  product_of_samples(z.G, z.F, weights.input, scratch.normed, scratch.input_product);
  T* from_input = scratch.input_product;
  for (int64_t j = 0; j < z.G; ++j)
    for (int64_t s = 0; s < S; s += Number<V>::width)
      (V::load(from_input + j * S + s) + splat<V>(weights.bias[j])).store(from_input + j * S + s);
  for (int64_t k = 0; k < z.Tout; ++k)
    step_forward(z, weights.recurrent, block.decoder[direction], k,
                 [=](int64_t row, int64_t s) { return V::load(from_input + row * S + s); });
}

// One step back through all units: the gates' gradients, then that of the states before.  arriving(unit, s) is what
// reaches the states of this step from above; scratch.dstates holds what reaches them from the step after.
template <class T, class Arriving>
MK_INLINE void step_backward(const Sizes& z, const T* recurrent_back, const Saved<T>& saved, int64_t k,
                             const Scratch<T>& scratch, const Arriving& arriving) {
  using V = Pack<T>;
  const T *gate = saved.gates + k * z.G * S, *tanh_cell = saved.tanh_cells + k * z.H * S;
  const T* before = saved.cells + (k - 1) * z.H * S;
  for (int64_t u = 0; u < z.H; ++u) {
    const auto dstate = [&](int64_t s) { return arriving(u, s) + V::load(scratch.dstates + u * S + s); };
    const T* at = gate + u * gate_count * S;
    T *dcell = scratch.dcells + u * S, *dz = scratch.dgates + u * gate_count * S;
    if (k > 0)
      unit_backward<T, true>(dstate, at, before + u * S, tanh_cell + u * S, dcell, dz);
    else
      unit_backward<T, false>(dstate, at, nullptr, tanh_cell + u * S, dcell, dz);
  }
  if (k > 0) product_of_samples(z.H, z.G, recurrent_back, scratch.dgates, scratch.dstates);
}

template <class T>
void clear_gradients(const Sizes& z, const Scratch<T>& scratch) {
  fill(scratch.dstates, z.H4 * S, T(0));
  fill(scratch.dcells, z.H * S, T(0));
  fill(scratch.dgates + z.G * S, (z.J - z.G) * S, T(0));
}

// scratch.norm holds the second norm with its backward part at first, later the first norm.
template <class T>
void decode_block_back(const Team<T>& team, int64_t b, int direction, const Scratch<T>& scratch) {
  using V = Pack<T>;
  const Sizes& z = team.z;
  const SampleBlock<T> block = team.block(b);
  const Saved<T>& saved = block.decoder[direction];
  const auto& weights = team.packed.decoder[direction];
  const auto& offsets = team.o.decoder[direction];
  const Normalisation<T> norm(scratch);
  const Present<T> present{team.valid(b)};
  clear_gradients(z, scratch);
  fill(scratch.dgates_sum, z.J * S, T(0));
  fill(block.gradient + offsets.recurrent, z.H * z.J, T(0));
  backward_norm(team, 1, norm);
  for (int64_t k = z.Tout - 1; k >= 0; --k) {
    const T* states = saved.states + k * saved.state_step;
    const T* dy = block.ddecoded + ((direction ? z.Tout - 1 - k : k) * z.F4 + direction * z.H) * S;
    step_backward(z, weights.recurrent_back, saved, k, scratch, [&](int64_t u, int64_t s) {
      const int64_t f = direction * z.H + u, at = u * S + s;
      return norm.backward(f, V::load(states + at), V::load(dy + at)) * present(s);
    });
    for (int64_t n = 0; n < z.G * S; n += Number<V>::width)
      (V::load(scratch.dgates_sum + n) + V::load(scratch.dgates + n)).store(scratch.dgates_sum + n);
    if (k == 0) break;
    transpose(scratch.dgates, S, z.J, S, scratch.dgates_columns, z.J);
    add_outer(z.H, z.J, states - saved.state_step, scratch.dgates_columns, block.gradient + offsets.recurrent);
  }
  training_norm(team, 0, norm);
  normalise_encoded(z, block, norm, scratch.normed);
  fill(block.gradient + offsets.input, z.F * z.J, T(0));
  fill(block.gradient + offsets.bias, z.J, T(0));
  transpose(scratch.dgates_sum, S, z.J, S, scratch.dgates_columns, z.J);
  add_outer(z.F, z.J, scratch.normed, scratch.dgates_columns, block.gradient + offsets.input);
  add_columns(z.J, scratch.dgates_columns, block.gradient + offsets.bias);
  T* dencoded = block.dencoded[direction];
  product_of_samples(z.F, z.G, weights.input_back, scratch.dgates_sum, dencoded);
  fill(block.dnorm_first[direction], 2 * z.feature_row, T(0));
  for (int d = 0; d < 2; ++d)
    add_norm_gradient(d * z.H, z.H, norm, last_states(z, block, d), dencoded + d * z.H * S, z.feature_row,
                      block.dnorm_first[direction]);
}

// Adds each sample's column of gradients to the row of its token.
template <class T>
MK_INLINE void add_by_token(int64_t row, const typename IntOf<T>::type* token_ids, const T* by_sample, T* table) {
  using V = Pack<T>;
  for (int64_t s = 0; s < S; ++s) {
    T* out = table + token_ids[s] * row;
    for (int64_t n = 0; n < row; n += Number<V>::width)
      (V::load(out + n) + V::load(by_sample + s * row + n)).store(out + n);
  }
}

template <class T>
void encode_block_back(const Team<T>& team, int64_t b, int direction, const Scratch<T>& scratch) {
  using V = Pack<T>;
  const Sizes& z = team.z;
  const SampleBlock<T> block = team.block(b);
  const Saved<T>& saved = block.encoder[direction];
  const auto& weights = team.packed.encoder[direction];
  const auto& offsets = team.o.encoder[direction];
  const Normalisation<T> norm(scratch);
  const Present<T> present{team.valid(b)};
  clear_gradients(z, scratch);
  fill(scratch.dtable, (z.A + 1) * z.J, T(0));
  fill(block.gradient + offsets.recurrent, z.H * z.J, T(0));
  backward_norm(team, 0, norm);
  const T* last = last_states(z, block, direction);
  for (int64_t u = 0; u < z.H; ++u) {
    const int64_t f = direction * z.H + u;
    for (int64_t s = 0; s < S; s += Number<V>::width) {
      const V dy = V::load(block.dencoded[0] + f * S + s) + V::load(block.dencoded[1] + f * S + s);
      (norm.backward(f, V::load(last + u * S + s), dy) * present(s)).store(scratch.dstates + u * S + s);
    }
  }
  for (int64_t k = z.Tin - 1; k >= 0; --k) {
    step_backward(z, weights.recurrent_back, saved, k, scratch, [](int64_t, int64_t) { return splat<V>(T(0)); });
    transpose(scratch.dgates, S, z.J, S, scratch.dgates_columns, z.J);
    add_by_token(z.J, saved.token_ids + k * S, scratch.dgates_columns, scratch.dtable);
    if (k > 0)
      add_outer(z.H, z.J, saved.states + (k - 1) * saved.state_step, scratch.dgates_columns,
                block.gradient + offsets.recurrent);
  }
  T *input = block.gradient + offsets.input, *bias = block.gradient + offsets.bias;
  for (int64_t j = 0; j < z.J; ++j) bias[j] = scratch.dtable[j];
  for (int64_t a = 0; a < z.A; ++a)
    for (int64_t j = 0; j < z.J; ++j) {
      input[a * z.J + j] = scratch.dtable[(a + 1) * z.J + j];
      bias[j] += scratch.dtable[(a + 1) * z.J + j];
    }
}

}  // namespace mk::MK_ISA
