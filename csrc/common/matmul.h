// The register-blocked product of all kernels:  sums[u][p] += sum over k of a(k, u) b(k, p),  a scalars and b packs.
// A block of U times P sums stays in registers while k runs, so each number that is read is used U or P times.
//
// Each sum is one chain of multiply-adds in the order of k: its bits do not depend on how outputs are cut into blocks.
//
// What calls this stands in a function of its own (MK_NOINLINE): inlined, GCC hoists what it finds around it and spills
// the sums.
#pragma once
#include "common/lanes.h"

#define MK_NOINLINE __attribute__((noinline))
#ifndef MK_UNROLL_ALL
#define MK_UNROLL_ALL _Pragma("GCC unroll 64")
#endif

namespace mk::MK_ISA {

#if defined(__AVX512F__)
constexpr bool many_registers = true;  // 32
#else
constexpr bool many_registers = false;  // 16
#endif

// What a product does with a number of a and one of b.
struct MultiplyAdd {
  template <class V>
  static MK_INLINE V add(V a, V b, V sum) {
    return fma(a, b, sum);
  }
};

// U rows of P packs; with `half` another half pack.
template <class T, int U, int P, bool half = false>
struct RegisterBlock {
  using V = Pack<T>;
  using Half = Vec<T, Number<V>::width / 2>;
  static constexpr int width = Number<V>::width;
  V sums[U][P];
  Half last[U];

  // Row u begins at value(u).
  template <class Value>
  MK_INLINE void start(const Value& value) {
    MK_UNROLL_ALL
    for (int u = 0; u < U; ++u) {
      MK_UNROLL_ALL
      for (int p = 0; p < P; ++p) sums[u][p] = splat<V>(value(u));
      if constexpr (half) last[u] = splat<Half>(value(u));
    }
  }
  // place(u, p): where a pack of sums lies.
  template <class Place>
  MK_INLINE void load(const Place& place) {
    MK_UNROLL_ALL
    for (int u = 0; u < U; ++u) {
      MK_UNROLL_ALL
      for (int p = 0; p < P; ++p) sums[u][p] = V::load(place(u, p));
    }
  }
  template <class Place>
  MK_INLINE void store(const Place& place) const {
    MK_UNROLL_ALL
    for (int u = 0; u < U; ++u) {
      MK_UNROLL_ALL
      for (int p = 0; p < P; ++p) sums[u][p].store(place(u, p));
    }
  }
  // Adds the sums to rows of memory, out_step numbers apart.
  MK_INLINE void add_to(T* out, int64_t out_step) const {
    MK_UNROLL_ALL
    for (int u = 0; u < U; ++u) {
      T* const place = out + u * out_step;
      MK_UNROLL_ALL
      for (int p = 0; p < P; ++p) (V::load(place + p * width) + sums[u][p]).store(place + p * width);
      if constexpr (half) (Half::load(place + P * width) + last[u]).store(place + P * width);
    }
  }

  // a(u, k) is a scalar, b(p, k) where a pack lies.  A number's packs are held in registers and its scalars come one by
  // one; with hold_scalars the other way round.
  template <class Step = MultiplyAdd, bool hold_scalars = false, class A, class B>
  MK_INLINE void add_product(int64_t depth, const A& a, const B& b) {
    for (int64_t k = 0; k < depth; ++k) {
      if constexpr (hold_scalars) {
        static_assert(!half, "only packs that are held may be halves");
        V scalars[U];
        MK_UNROLL_ALL
        for (int u = 0; u < U; ++u) scalars[u] = splat<V>(a(u, k));
        MK_UNROLL_ALL
        for (int p = 0; p < P; ++p) {
          const V value = V::load(b(p, k));
          MK_UNROLL_ALL
          for (int u = 0; u < U; ++u) sums[u][p] = Step::add(value, scalars[u], sums[u][p]);
        }
      } else {
        V values[P];
        Half last_value;
        MK_UNROLL_ALL
        for (int p = 0; p < P; ++p) values[p] = V::load(b(p, k));
        if constexpr (half) last_value = Half::load(b(P, k));
        MK_UNROLL_ALL
        for (int u = 0; u < U; ++u) {
          const V scalar = splat<V>(a(u, k));
          MK_UNROLL_ALL
          for (int p = 0; p < P; ++p) sums[u][p] = Step::add(scalar, values[p], sums[u][p]);
          if constexpr (half) {
            Half scalar_half;
            __builtin_memcpy(&scalar_half, &scalar, sizeof scalar_half);
            last[u] = Step::add(scalar_half, last_value, last[u]);
          }
        }
      }
    }
  }
};

// out[u][lane] = start[u] + sum over k of a[k][u] b[k][lane] for U u and `rows` lanes; where start is null the chains
// begin at what out holds.
template <class T>
using Product = void(int64_t depth, const T* a, const T* b, const T* start, T* out);

template <class T, int rows, int P, int U, class Step = MultiplyAdd>
MK_NOINLINE void product(int64_t depth, const T* a, const T* b, const T* start, T* out) {
  using V = Pack<T>;
  constexpr int width = Number<V>::width;
  static_assert(rows % (P * width) == 0);
  for (int part = 0; part < rows; part += P * width) {
    RegisterBlock<T, U, P> block;
    const auto place = [=](int u, int p) { return out + u * rows + part + p * width; };
    if (start == nullptr)
      block.load(place);
    else
      block.start([=](int u) { return start[u]; });
    block.template add_product<Step>(
        depth, [=](int u, int64_t k) { return a[k * U + u]; },
        [=](int p, int64_t k) { return b + k * rows + part + p * width; });
    block.store(place);
  }
}

}  // namespace mk::MK_ISA
