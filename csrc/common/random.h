// Random numbers as a function of (seed, iteration, sample, input): no state, so a stream does not depend on lanes,
// threads, on which models are trained together, or on a resume.
//
// Hash (the default).  A 64-bit finaliser turns (seed, iteration) into two 32-bit keys and two odd steps; within an
// iteration sample and input pass two multiply-xorshift rounds with one key before each:
//     x = sample * sample_step + input * input_step + key0;
//     x ^= x >> 16;  x *= m1;  x ^= x >> 15;  x += key1;  x *= m2;  x ^= x >> 16.
// The steps are random because a fixed difference between neighbours shows through two rounds (docs/random.md).
// Philox.  Philox4x32-10 (Salmon et al. 2011), key = seed, counter = (iteration, input, sample / 4), lane = sample % 4.
//
// The statistical tests of both are in docs/random.md.  python_tests/test_random.py holds a second implementation.
#pragma once
#include "common/scalar.h"

namespace mk::MK_ISA {

// mix, scramble: the finaliser of splitmix64 (Steele, Lea, Flood 2014).
MK_INLINE uint64_t mix64(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

struct HashKey {
  uint32_t key0, key1, sample_step, input_step;
};
MK_INLINE HashKey hash_key(uint64_t seed, uint64_t iteration) {
  const uint64_t z = mix64(mix64(seed + 0x9e3779b97f4a7c15u) + (iteration + 1) * 0x9e3779b97f4a7c15u);
  const uint32_t key0 = static_cast<uint32_t>(z), key1 = static_cast<uint32_t>(z >> 32);
  return {key0, key1, static_cast<uint32_t>((z * 0xd1342543de82ef95u) >> 32) | 1, (key0 ^ key1) | 1};
}

MK_INLINE uint32_t hash_counter(HashKey key, uint32_t sample, uint32_t input) {
  return sample * key.sample_step + input * key.input_step;
}

// U is uint32_t or a pack of them.
template <class U>
MK_INLINE U hash_bits(HashKey key, U counter) {
  U x = counter + key.key0;
  x = (x ^ (x >> 16)) * 0x21f0aaadu;
  x = (x ^ (x >> 15)) + key.key1;
  x = x * 0x735a2d97u;
  return x ^ (x >> 16);
}

struct Philox {
  uint32_t word[4];
};
MK_INLINE Philox philox(uint64_t seed, uint64_t iteration, uint32_t input, uint32_t block) {
  uint32_t c0 = static_cast<uint32_t>(iteration), c1 = static_cast<uint32_t>(iteration >> 32), c2 = input, c3 = block;
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c0, p1 = uint64_t{0xCD9E8D57u} * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// What a model makes of 32 random bits: (float)((bits >> 1) - anchor) * scale + offset.  The anchor is the integer that
// stands for 0 if the range contains or touches 0 (so that values near 0 keep their relative precision), else the
// middle; offset carries half a step, so that 0 itself does not occur.
MK_INLINE int32_t anchored(uint32_t random_bits, uint32_t anchor) {
  return static_cast<int32_t>((random_bits >> 1) - anchor);
}

}  // namespace mk::MK_ISA
