// What the lanes of a warp do together: shuffles, votes, barriers.  Included by emulator.h.
#pragma once

namespace mk::emulator {

// Does something for all lanes of a meeting: `arguments` are theirs, null for lanes outside of the mask.
using Together = void(void* const (&arguments)[32], unsigned mask);

// Waits for the lanes of `mask`, which must bring the same `what`, `detail` and line; then `together` runs once.
void meet(unsigned mask, const char* what, int detail, Together* together, void* argument, Site site);

// As meet, and what the lanes have done before comes before what any of them does after.
void meet_in_order(unsigned mask, const char* what, Site site);

// A shuffle: the bits that lane `source` brought, a NaN if it is not in the mask.
uint64_t exchange(unsigned mask, int kind, int source, uint64_t bits, Site site);

// The predicates of the lanes of the mask.
unsigned ballot(unsigned mask, const char* what, bool predicate, Site site);

template <class T>
inline T shuffle(unsigned mask, T value, int kind, int source, Site site) {
  static_assert(sizeof(T) <= sizeof(uint64_t), "a shuffle moves at most 64 bits");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = exchange(mask, kind, source, bits, site);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace mk::emulator

#define MK_SITE mk::emulator::Site site = mk::emulator::Site::here()

template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int offset, MK_SITE) {
  return mk::emulator::shuffle(mask, value, offset, mk::emulator::current_lane() ^ offset, site);
}
template <class T>
inline T __shfl_sync(unsigned mask, T value, int source, MK_SITE) {
  return mk::emulator::shuffle(mask, value, 64, source & 31, site);
}
// Lanes without a source keep their value.
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned offset, MK_SITE) {
  const int lane = mk::emulator::current_lane(), source = lane - static_cast<int>(offset);
  return mk::emulator::shuffle(mask, value, 128 + static_cast<int>(offset), source < 0 ? lane : source, site);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned offset, MK_SITE) {
  const int lane = mk::emulator::current_lane(), source = lane + static_cast<int>(offset);
  return mk::emulator::shuffle(mask, value, 192 + static_cast<int>(offset), source > 31 ? lane : source, site);
}

inline unsigned __ballot_sync(unsigned mask, bool predicate, MK_SITE) {
  return mk::emulator::ballot(mask, "a ballot", predicate, site);
}
inline bool __any_sync(unsigned mask, bool predicate, MK_SITE) {
  return mk::emulator::ballot(mask, "a vote of any", predicate, site) != 0;
}
inline bool __all_sync(unsigned mask, bool predicate, MK_SITE) {
  return mk::emulator::ballot(mask, "a vote of all", predicate, site) == mask;
}

inline void __syncwarp(unsigned mask = 0xffffffffu, MK_SITE) {
  mk::emulator::meet_in_order(mask, "a barrier of the warp", site);
}

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
