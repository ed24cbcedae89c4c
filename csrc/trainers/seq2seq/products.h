// The three small products of training, on blocks of S samples.  T is float or double; values are [feature][S].
#pragma once
#include "trainers/seq2seq/memory.h"

namespace mk::MK_ISA {

// How many packs of samples, or of columns of weights, stand beside one another in registers.
#if defined(__AVX512F__)
constexpr int side_packs = 4, column_packs = 5;
#else
constexpr int side_packs = 2, column_packs = 2;
#endif

// out [4][S] = sum over k of weight [K][4] times in [K][S].
template <class T>
__attribute__((noinline)) void product_of_four_rows(int64_t K, const T* weight, const T* in, T* out) {
  using V = Pack<T>;
  constexpr int W = Number<V>::width, P = side_packs;
  for (int64_t s = 0; s < S; s += P * W) {
    V sum[row_tile][P];
    for (int r = 0; r < row_tile; ++r)
      for (int q = 0; q < P; ++q) sum[r][q] = splat<V>(T(0));
    for (int64_t k = 0; k < K; ++k) {
      V x[P];
      for (int q = 0; q < P; ++q) x[q] = V::load(in + k * S + s + q * W);
      for (int r = 0; r < row_tile; ++r) {
        const V w = splat<V>(weight[k * row_tile + r]);
        for (int q = 0; q < P; ++q) sum[r][q] = fma(w, x[q], sum[r][q]);
      }
    }
    for (int r = 0; r < row_tile; ++r)
      for (int q = 0; q < P; ++q) sum[r][q].store(out + r * S + s + q * W);
  }
}

// out [rows rounded up to 4][S] = weight, packed in tiles of four rows, times in [K][S].
template <class T>
MK_INLINE void product(int64_t rows, int64_t K, const T* weight, const T* in, T* out) {
  for (int64_t r = 0; r < rows; r += row_tile) product_of_four_rows(K, weight + r * K, in, out + r * S);
}

// out [N rows][row], N packs wide, += over samples s: values [k][s] times by_sample [s].
template <class T, int N, int K>
__attribute__((noinline)) void add_outer_tile(int64_t row, const T* values, const T* by_sample, T* out) {
  using V = Pack<T>;
  constexpr int W = Number<V>::width;
  V sum[K][N];
  for (int k = 0; k < K; ++k)
    for (int n = 0; n < N; ++n) sum[k][n] = V::load(out + k * row + n * W);
  for (int64_t s = 0; s < S; ++s) {
    V c[N];
    for (int n = 0; n < N; ++n) c[n] = V::load(by_sample + s * row + n * W);
    for (int k = 0; k < K; ++k) {
      const V v = splat<V>(values[k * S + s]);
      for (int n = 0; n < N; ++n) sum[k][n] = fma(v, c[n], sum[k][n]);
    }
  }
  for (int k = 0; k < K; ++k)
    for (int n = 0; n < N; ++n) sum[k][n].store(out + k * row + n * W);
}

template <class T, int N>
void add_outer_columns(int64_t rows, int64_t row, const T* values, const T* by_sample, T* out) {
  constexpr int K = N == 1 ? 8 : 4;
  int64_t k = 0;
  for (; k + K <= rows; k += K) add_outer_tile<T, N, K>(row, values + k * S, by_sample, out + k * row);
  for (; k < rows; ++k) add_outer_tile<T, N, 1>(row, values + k * S, by_sample, out + k * row);
}

// out [rows][row] += the sum over samples, in their order, of values [rows][S] times by_sample [S][row]: the gradient
// of weights.  Every row is a multiple of 16 numbers long.
template <class T>
void add_outer(int64_t rows, int64_t row, const T* values, const T* by_sample, T* out) {
  constexpr int W = Number<Pack<T>>::width;
  const int64_t packs = row / W;
  for (int64_t n = 0; n < packs;) {
    const int64_t left = packs - n;
    if (left >= column_packs) {
      add_outer_columns<T, column_packs>(rows, row, values, by_sample + n * W, out + n * W);
      n += column_packs;
    } else if (left >= 4 && column_packs > 4) {
      add_outer_columns<T, 4>(rows, row, values, by_sample + n * W, out + n * W);
      n += 4;
    } else if (left >= 2) {
      add_outer_columns<T, 2>(rows, row, values, by_sample + n * W, out + n * W);
      n += 2;
    } else {
      add_outer_columns<T, 1>(rows, row, values, by_sample + n * W, out + n * W);
      n += 1;
    }
  }
}

// Interleaves the lower, or the upper, halves of two packs: log2(W) rounds of this transpose W packs.
template <bool upper, class T, int W>
MK_INLINE Vec<T, W> interleaved(Vec<T, W> a, Vec<T, W> b) {
#if defined(__clang__)
  Vec<T, W> r;
  for (int i = 0; i < W / 2; ++i) {
    r.raw[2 * i] = a.raw[i + (upper ? W / 2 : 0)];
    r.raw[2 * i + 1] = b.raw[i + (upper ? W / 2 : 0)];
  }
  return r;
#else
  typename Vec<T, W>::RawInt mask;
  for (int i = 0; i < W / 2; ++i) {
    mask[2 * i] = i + (upper ? W / 2 : 0);
    mask[2 * i + 1] = i + W + (upper ? W / 2 : 0);
  }
  return {__builtin_shuffle(a.raw, b.raw, mask)};
#endif
}

// out [S][row] = the transpose of in [row][S].
template <class T>
__attribute__((noinline)) void transpose(int64_t row, const T* in, T* out) {
  using V = Pack<T>;
  constexpr int W = Number<V>::width;
  for (int64_t r = 0; r < row; r += W)
    for (int64_t s = 0; s < S; s += W) {
      V a[W], b[W];
      for (int i = 0; i < W; ++i) a[i] = V::load(in + (r + i) * S + s);
      for (int round = 1; round < W; round *= 2) {
        for (int i = 0; i < W / 2; ++i) {
          b[2 * i] = interleaved<false>(a[i], a[i + W / 2]);
          b[2 * i + 1] = interleaved<true>(a[i], a[i + W / 2]);
        }
        for (int i = 0; i < W; ++i) a[i] = b[i];
      }
      for (int i = 0; i < W; ++i) a[i].store(out + (s + i) * row + r);
    }
}

// out [row] += the sum over samples of by_sample [S][row].
template <class T>
MK_INLINE void add_columns(int64_t row, const T* by_sample, T* out) {
  using V = Pack<T>;
  for (int64_t n = 0; n < row; n += Number<V>::width) {
    V sum = V::load(out + n);
    for (int64_t s = 0; s < S; ++s) sum = sum + V::load(by_sample + s * row + n);
    sum.store(out + n);
  }
}

}  // namespace mk::MK_ISA
