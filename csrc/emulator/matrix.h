// Products of matrices by a warp, by the names of mma.h: fragments of numbers of 16 bits, sums in float.
//
// Which element lies in which lane is not specified there, and scrambled here, so that no kernel relies on it.  A sum
// takes its products one after another, each exact, rounded to float after every addition; a GPU takes some at once.
#pragma once
#include <type_traits>

#include "emulator/emulator.h"
#include "emulator/half.h"

namespace nvcuda::wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
enum layout_t { mem_row_major, mem_col_major };

inline float widened(__nv_bfloat16 v) { return __bfloat162float(v); }
inline float widened(__half v) { return __half2float(v); }

template <class Use, int M, int N, int K>
struct Extent;
template <int M, int N, int K>
struct Extent<matrix_a, M, N, K> {
  static constexpr int rows = M, columns = K;
};
template <int M, int N, int K>
struct Extent<matrix_b, M, N, K> {
  static constexpr int rows = K, columns = N;
};
template <int M, int N, int K>
struct Extent<accumulator, M, N, K> {
  static constexpr int rows = M, columns = N;
};

template <class Use, int M, int N, int K, class T, class Layout = void>
struct fragment {
  static_assert((M == 16 && N == 16 && K == 16) || (M == 8 && N == 32 && K == 16) || (M == 32 && N == 8 && K == 16),
                "these are the shapes of 16-bit factors");
  static constexpr int rows = Extent<Use, M, N, K>::rows, columns = Extent<Use, M, N, K>::columns;
  static constexpr int num_elements = rows * columns / 32;
  T x[num_elements];

  // The place in the matrix, row by row, of the lane's element k.
  static int place(int lane, int k) { return (lane * num_elements + k) * 37 % (rows * columns); }
};

template <class Use, int M, int N, int K, class T, class Layout, class U>
inline void fill_fragment(fragment<Use, M, N, K, T, Layout>& f, U value) {
  for (T& x : f.x) x = value;
}

namespace detail {
// All lanes have to come, as for a product; each then moves its own elements.
inline void together(const char* what, mk::emulator::Site site) {
  mk::emulator::meet(0xffffffffu, what, 0, nullptr, nullptr, site);
}
inline void check(const void* memory, unsigned stride, unsigned bytes, mk::emulator::Site site) {
  if (reinterpret_cast<uintptr_t>(memory) % 32 != 0)
    mk::emulator::fail(site, "a fragment's memory is not aligned to 32 bytes");
  if (stride * bytes % 16 != 0) mk::emulator::fail(site, "a fragment's rows are not a multiple of 16 bytes apart");
}
template <class F, class Move>
inline void each(bool by_rows, unsigned stride, Move move) {
  for (int k = 0; k < F::num_elements; ++k) {
    const int place = F::place(mk::emulator::current_lane(), k), row = place / F::columns, column = place % F::columns;
    move(k, by_rows ? size_t{stride} * static_cast<size_t>(row) + static_cast<size_t>(column)
                    : size_t{stride} * static_cast<size_t>(column) + static_cast<size_t>(row));
  }
}
}  // namespace detail

template <class Use, int M, int N, int K, class T, class Layout>
inline void load_matrix_sync(fragment<Use, M, N, K, T, Layout>& f, const T* memory, unsigned stride, MK_SITE) {
  detail::together("a load of a fragment", site);
  detail::check(memory, stride, sizeof(T), site);
  detail::each<fragment<Use, M, N, K, T, Layout>>(std::is_same_v<Layout, row_major>, stride,
                                                  [&](int k, size_t at) { f.x[k] = memory[at]; });
}
template <int M, int N, int K, class T>
inline void load_matrix_sync(fragment<accumulator, M, N, K, T>& f, const T* memory, unsigned stride, layout_t layout,
                             MK_SITE) {
  detail::together("a load of a fragment", site);
  detail::check(memory, stride, sizeof(T), site);
  detail::each<fragment<accumulator, M, N, K, T>>(layout == mem_row_major, stride,
                                                  [&](int k, size_t at) { f.x[k] = memory[at]; });
}
template <int M, int N, int K, class T>
inline void store_matrix_sync(T* memory, const fragment<accumulator, M, N, K, T>& f, unsigned stride, layout_t layout,
                              MK_SITE) {
  detail::together("a store of a fragment", site);
  detail::check(memory, stride, sizeof(T), site);
  detail::each<fragment<accumulator, M, N, K, T>>(layout == mem_row_major, stride,
                                                  [&](int k, size_t at) { memory[at] = f.x[k]; });
}

template <int M, int N, int K, class A, class B, class LayoutA, class LayoutB>
inline void mma_sync(fragment<accumulator, M, N, K, float>& d, const fragment<matrix_a, M, N, K, A, LayoutA>& a,
                     const fragment<matrix_b, M, N, K, B, LayoutB>& b, const fragment<accumulator, M, N, K, float>& c,
                     MK_SITE) {
  static_assert(std::is_same_v<A, B>, "both factors have one type");
  using FragmentA = fragment<matrix_a, M, N, K, A, LayoutA>;
  using FragmentB = fragment<matrix_b, M, N, K, B, LayoutB>;
  using Sums = fragment<accumulator, M, N, K, float>;
  struct Own {
    Sums* d;
    const FragmentA* a;
    const FragmentB* b;
    const Sums* c;
  } own{&d, &a, &b, &c};
  mk::emulator::meet(
      0xffffffffu, "a product of matrices", 0,
      [](void* const(&arguments)[32], unsigned) __attribute__((no_sanitize("thread"))) {
        static float wide_a[M * K], wide_b[K * N], sum[M * N];
        for (int lane = 0; lane < 32; ++lane) {
          const auto* of = static_cast<const Own*>(arguments[lane]);
          for (int k = 0; k < FragmentA::num_elements; ++k) wide_a[FragmentA::place(lane, k)] = widened(of->a->x[k]);
          for (int k = 0; k < FragmentB::num_elements; ++k) wide_b[FragmentB::place(lane, k)] = widened(of->b->x[k]);
          for (int k = 0; k < Sums::num_elements; ++k) sum[Sums::place(lane, k)] = of->c->x[k];
        }
        for (int m = 0; m < M; ++m)
          for (int k = 0; k < K; ++k)
            for (int n = 0; n < N; ++n) sum[m * N + n] += wide_a[m * K + k] * wide_b[k * N + n];
        for (int lane = 0; lane < 32; ++lane)
          for (int k = 0; k < Sums::num_elements; ++k)
            static_cast<const Own*>(arguments[lane])->d->x[k] = sum[Sums::place(lane, k)];
      },
      &own, site);
}

}  // namespace nvcuda::wmma
