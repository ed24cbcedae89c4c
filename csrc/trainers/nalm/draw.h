// The numbers that a tile draws in one iteration, [slot][input][sample]: anchored integers as reals for uniform numbers
// (see random.h), the numbers themselves for the other distributions.
//
// shape_numbers for an input of a slot, k being the random integer of 31 bits:
//   truncated normal   0 step of probability; 1, 2 from which k and with what shift the middle counts: P - 1/2 =
//                      (k - [1]) * [0] + [2]; 3, 4 the probability outside the lower and the upper end, and half a
//                      step; 5 mean, 6 standard deviation, 7 low, 8 high; 9, 10 as 1, 2 for P - P0, P0 the probability
//                      of numbers below 0; 11 up to which |P - P0| the series holds (-1: never), 12 one over the
//                      density at 0, 13 … the coefficients of its powers
//   Benford            step and shift of the fraction in [0, 1); the power of ten of the first digit; how many values
//   the
//                      digits after it take, the smallest of them
//
// Where a draw would meet -epsilon, which a cell adds before it divides, the slot has numbers to avoid: a draw from
// low to high (reals as above) becomes another.
#pragma once
#include "common/lanes.h"
#include "common/random.h"
#include "trainers/nalm/distribution.h"
#include "trainers/nalm/program.h"

namespace mk::MK_ISA {

// As is R, or an integer of its size.
template <class As, class R>
MK_INLINE void draw_hash(uint64_t seed, int64_t iteration, int inputs, int batch, const uint32_t* anchor, R* out) {
  static_assert(sizeof(As) == sizeof(R), "a number takes the place of a number");
  constexpr int width = vector_bytes / 4;
  typedef uint32_t Counters __attribute__((vector_size(vector_bytes)));
  typedef As Reals __attribute__((vector_size(width * sizeof(As))));
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

template <class As, class R>
MK_INLINE void draw_philox(uint64_t seed, int64_t iteration, int inputs, int batch, const uint32_t* anchor, R* out) {
  for (int i = 0; i < inputs; ++i)
    for (int s = 0; s < batch; s += 4) {
      const Philox four =
          philox(seed, static_cast<uint64_t>(iteration), static_cast<uint32_t>(i), static_cast<uint32_t>(s / 4));
      for (int l = 0; l < 4; ++l) {
        const As value = static_cast<As>(anchored(four.word[l], anchor[i]));
        __builtin_memcpy(out + i * batch + s + l, &value, sizeof value);
      }
    }
}

template <class As, class R>
MK_INLINE void draw_integers(const Program& p, int64_t index, int64_t iteration, R* out) {
  const int inputs = static_cast<int>(p.inputs), batch = static_cast<int>(p.batch);
  const uint32_t* anchor = p.slot_anchor + index * inputs;
  if (p.generator == static_cast<int64_t>(Generator::hash))
    draw_hash<As>(p.slot_seed[index], iteration, inputs, batch, anchor, out);
  else
    draw_philox<As>(p.slot_seed[index], iteration, inputs, batch, anchor, out);
}

// One slot's numbers, [input][sample].
template <class R>
MK_INLINE void draw_slot(const Program& p, int64_t tile, int slot, int64_t iteration, R* out) {
  const int inputs = static_cast<int>(p.inputs), batch = static_cast<int>(p.batch);
  const int64_t index = tile * tile_models + slot;
  if (p.distribution == static_cast<int64_t>(Distribution::uniform)) {
    draw_integers<R>(p, index, iteration, out);
  } else {
    draw_integers<typename IntOf<R>::type>(p, index, iteration, out);
    for (int i = 0; i < inputs; ++i)
      distribute(static_cast<Distribution>(p.distribution), batch, out + i * batch,
                 p.slot_shape + (index * inputs + i) * shape_numbers);
  }
  if (p.slot_avoid == nullptr) return;
  for (int i = 0; i < inputs; ++i)
    avoid_numbers(batch, out + i * batch, static_cast<const R*>(p.slot_avoid) + (index * inputs + i) * avoid_count);
}

}  // namespace mk::MK_ISA
