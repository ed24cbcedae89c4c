// Atomic operations on int, unsigned, unsigned long long and float.  They order nothing but themselves, as on a GPU.
// Included by emulator.h.
#pragma once

namespace mk::emulator {

// In some orders lets other lanes go first, so that what is only atomic by parts shows.
void interleave();

template <class T>
struct BitsOf {
  using Type = T;
};
template <>
struct BitsOf<float> {
  using Type = uint32_t;
};
template <>
struct BitsOf<double> {
  using Type = uint64_t;
};

// Replaces *address by change(*address) at once; returns what was there.
template <class T, class Change>
inline T atomically(T* address, Change change) {
  using Bits = typename BitsOf<T>::Type;
  interleave();
  auto* place = reinterpret_cast<Bits*>(address);
  Bits before = __atomic_load_n(place, __ATOMIC_RELAXED), after;
  T value;
  do {
    std::memcpy(&value, &before, sizeof value);
    const T changed = change(value);
    std::memcpy(&after, &changed, sizeof after);
  } while (!__atomic_compare_exchange_n(place, &before, after, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return value;
}

// Adds to a flag; what the thread has done before comes before what others do after they have waited for the flag.
inline void release_add(unsigned* flag, unsigned value) { __atomic_fetch_add(flag, value, __ATOMIC_RELEASE); }

}  // namespace mk::emulator

template <class T, class U>
inline T atomicAdd(T* address, U value) {
  return mk::emulator::atomically(address, [=](T v) { return static_cast<T>(v + static_cast<T>(value)); });
}
template <class T, class U>
inline T atomicMax(T* address, U value) {
  static_assert(sizeof(T) && static_cast<T>(0.5) == 0, "CUDA has it for integers alone");
  return mk::emulator::atomically(address, [=](T v) { return static_cast<T>(value) > v ? static_cast<T>(value) : v; });
}
template <class T, class U>
inline T atomicMin(T* address, U value) {
  static_assert(sizeof(T) && static_cast<T>(0.5) == 0, "CUDA has it for integers alone");
  return mk::emulator::atomically(address, [=](T v) { return static_cast<T>(value) < v ? static_cast<T>(value) : v; });
}
template <class T, class U>
inline T atomicExch(T* address, U value) {
  return mk::emulator::atomically(address, [=](T) { return static_cast<T>(value); });
}
template <class T, class U, class W>
inline T atomicCAS(T* address, U compare, W value) {
  static_assert(static_cast<T>(0.5) == 0, "CUDA has it for integers alone");
  return mk::emulator::atomically(address,
                                  [=](T v) { return v == static_cast<T>(compare) ? static_cast<T>(value) : v; });
}
