// The three small products of training, on blocks of S samples.  T is float or double; values are [feature][S].
#pragma once
#include "common/matmul.h"
#include "common/transpose.h"
#include "trainers/seq2seq/memory.h"

namespace mk::MK_ISA {

// How many packs of samples, or of columns of weights, stand beside one another in registers.
constexpr int side_packs = many_registers ? 4 : 2, column_packs = many_registers ? 5 : 2;

// out [rows rounded up to 4][S] = weight, packed in tiles of four rows, times in [K][S].
template <class T>
MK_INLINE void product_of_samples(int64_t rows, int64_t K, const T* weight, const T* in, T* out) {
  static constexpr T zeros[row_tile] = {};
  for (int64_t r = 0; r < rows; r += row_tile)
    product<T, S, side_packs, row_tile>(K, weight + r * K, in, zeros, out + r * S);
}

// out [N rows][row], N packs wide, += over samples s: values [k][s] times by_sample [s][row].
template <class T, int N, int K>
MK_NOINLINE void add_outer_tile(int64_t row, const T* values, const T* by_sample, T* out) {
  constexpr int W = Number<Pack<T>>::width;
  const auto place = [=](int k, int n) { return out + k * row + n * W; };
  RegisterBlock<T, K, N> block;
  block.load(place);
  block.add_product(
      S, [=](int k, int64_t s) { return values[k * S + s]; },
      [=](int n, int64_t s) { return by_sample + s * row + n * W; });
  block.store(place);
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
