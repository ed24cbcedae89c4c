// The numbers that a tile draws in one iteration, [slot][input][sample]: anchored integers as reals for uniform numbers
// (see random.h), the numbers themselves for the other distributions.
//
// shape_numbers for an input of a slot:
//   truncated normal   step and shift of the distribution function: P - 1/2 = integer * step + shift; mean, standard
//                      deviation, low, high
//   Benford            step and shift of the share in [0, 1); the power of ten of the first digit; how many values the
//                      digits behind it take, the smallest of them; unused
#pragma once
#include "common/lanes.h"
#include "common/random.h"
#include "ensemble/distribution.h"
#include "ensemble/program.h"

namespace mk::MK_ISA {

template <class R>
MK_INLINE void draw_hash(uint64_t seed, int64_t iteration, int inputs, int batch, const uint32_t* anchor, R* out) {
  constexpr int width = vector_bytes / 4;
  typedef uint32_t Counters __attribute__((vector_size(vector_bytes)));
  typedef R Reals __attribute__((vector_size(width * sizeof(R))));
  HashKey key = hash_key(seed, static_cast<uint64_t>(iteration));
  Counters lanes;
  for (int l = 0; l < width; ++l) lanes[l] = static_cast<uint32_t>(l);
  lanes = lanes * key.sample_step + key.key0;
  key.key0 = 0;  // added once, not for every pack
  for (int i = 0; i < inputs; ++i) {
    Counters counter = lanes + hash_counter(key, 0, static_cast<uint32_t>(i));
    for (int s = 0; s < batch; s += width) {
      typedef int32_t Integers __attribute__((vector_size(vector_bytes)));
      const Reals values = __builtin_convertvector((Integers)((hash_bits(key, counter) >> 1) - anchor[i]), Reals);
      __builtin_memcpy(out + i * batch + s, &values, sizeof values);
      counter += hash_counter(key, width, 0);
    }
  }
}

template <class R>
MK_INLINE void draw_philox(uint64_t seed, int64_t iteration, int inputs, int batch, const uint32_t* anchor, R* out) {
  for (int i = 0; i < inputs; ++i)
    for (int s = 0; s < batch; s += 4) {
      const Philox four =
          philox(seed, static_cast<uint64_t>(iteration), static_cast<uint32_t>(i), static_cast<uint32_t>(s / 4));
      for (int l = 0; l < 4; ++l) out[i * batch + s + l] = static_cast<R>(anchored(four.word[l], anchor[i]));
    }
}

// One slot's numbers, [input][sample].
template <class R>
MK_INLINE void draw_slot(const Program& p, int64_t tile, int slot, int64_t iteration, R* out) {
  const int inputs = static_cast<int>(p.inputs), batch = static_cast<int>(p.batch);
  const int64_t index = tile * tile_models + slot;
  const uint32_t* anchor = p.slot_anchor + index * inputs;
  if (p.generator == static_cast<int64_t>(Generator::hash))
    draw_hash(p.slot_seed[index], iteration, inputs, batch, anchor, out);
  else
    draw_philox(p.slot_seed[index], iteration, inputs, batch, anchor, out);
  if (p.distribution == static_cast<int64_t>(Distribution::uniform)) return;
  for (int i = 0; i < inputs; ++i)
    distribute(static_cast<Distribution>(p.distribution), batch, out + i * batch,
               static_cast<const R*>(p.slot_shape) + (index * inputs + i) * shape_numbers);
}

}  // namespace mk::MK_ISA
