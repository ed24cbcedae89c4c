// Fills a tile's streams for one iteration: [slot][input][sample] anchored integers as reals (see random.h).
#pragma once
#include "common/lanes.h"
#include "common/random.h"
#include "ensemble/program.h"

namespace mk::MK_ISA {

template <class R>
MK_INLINE void draw_hash(uint64_t seed, int64_t iteration, int inputs, int batch, const uint32_t* anchor, R* out) {
  constexpr int width = vector_bytes / 4;
  typedef uint32_t Counters __attribute__((vector_size(vector_bytes)));
  typedef R Reals __attribute__((vector_size(width * sizeof(R))));
  const HashKey key = hash_key(seed, static_cast<uint64_t>(iteration));
  Counters lanes;
  for (int l = 0; l < width; ++l) lanes[l] = hash_counter(key, static_cast<uint32_t>(l), 0);
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

template <class R>
MK_INLINE void draw_tile(const Program& p, int64_t tile, int64_t iteration, R* streams) {
  const int inputs = static_cast<int>(p.inputs), batch = static_cast<int>(p.batch);
  for (int k = 0; k < p.slots[tile]; ++k) {
    const int64_t index = tile * tile_models + k;
    const uint32_t* anchor = p.slot_anchor + index * inputs;
    R* out = streams + int64_t{k} * inputs * batch;
    if (p.generator == static_cast<int64_t>(Generator::hash))
      draw_hash(p.slot_seed[index], iteration, inputs, batch, anchor, out);
    else
      draw_philox(p.slot_seed[index], iteration, inputs, batch, anchor, out);
  }
}

}  // namespace mk::MK_ISA
