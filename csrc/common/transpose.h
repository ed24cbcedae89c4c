// Transposes between rows of numbers, by blocks in registers.
#pragma once
#include "common/lanes.h"

#define MK_UNROLL_ALL _Pragma("GCC unroll 64")

namespace mk::MK_ISA {

// Four numbers, and four of them transposed.
template <class T>
struct Quad {
  typedef T Raw __attribute__((vector_size(4 * sizeof(T))));
  Raw raw;
  static MK_INLINE Raw load(const T* p) {
    Raw v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
  }
  static MK_INLINE void store(Raw v, T* p) { __builtin_memcpy(p, &v, sizeof v); }

  template <bool add>
  static MK_INLINE void put(Raw v, T* p) {
    store(add ? load(p) + v : v, p);
  }

  // out[c * out_step + r] = in[r * in_step + c] for 4 r and 4 c, or that much is added to out
  template <bool add>
  static MK_INLINE void transpose(const T* in, int64_t in_step, T* out, int64_t out_step) {
    const Raw a = load(in), b = load(in + in_step), c = load(in + 2 * in_step), d = load(in + 3 * in_step);
    const Raw ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const Raw cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    put<add>(__builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5), out);
    put<add>(__builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7), out + out_step);
    put<add>(__builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5), out + 2 * out_step);
    put<add>(__builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7), out + 3 * out_step);
  }
};

#if defined(__AVX512F__)
// The same for 16 r and 16 c of floats: pairs, quads, then blocks of four change places.
template <bool add>
MK_INLINE void transpose_whole(const float* in, int64_t in_step, float* out, int64_t out_step) {
  __m512 a[16], b[16];
  MK_UNROLL_ALL
  for (int r = 0; r < 16; ++r) a[r] = _mm512_loadu_ps(in + r * in_step);
  MK_UNROLL_ALL
  for (int r = 0; r < 16; r += 2) {
    b[r] = _mm512_unpacklo_ps(a[r], a[r + 1]);
    b[r + 1] = _mm512_unpackhi_ps(a[r], a[r + 1]);
  }
  MK_UNROLL_ALL
  for (int r = 0; r < 16; r += 4) {
    const auto pair = [&](int k) { return _mm512_castps_pd(b[r + k]); };
    a[r] = _mm512_castpd_ps(_mm512_unpacklo_pd(pair(0), pair(2)));
    a[r + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(pair(0), pair(2)));
    a[r + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(pair(1), pair(3)));
    a[r + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(pair(1), pair(3)));
  }
  MK_UNROLL_ALL
  for (int k = 0; k < 4; ++k) {  // column k of each block of four columns
    const __m512 low_even = _mm512_shuffle_f32x4(a[k], a[k + 4], 0x88),
                 low_odd = _mm512_shuffle_f32x4(a[k], a[k + 4], 0xdd);
    const __m512 high_even = _mm512_shuffle_f32x4(a[k + 8], a[k + 12], 0x88);
    const __m512 high_odd = _mm512_shuffle_f32x4(a[k + 8], a[k + 12], 0xdd);
    b[k] = _mm512_shuffle_f32x4(low_even, high_even, 0x88);
    b[k + 4] = _mm512_shuffle_f32x4(low_odd, high_odd, 0x88);
    b[k + 8] = _mm512_shuffle_f32x4(low_even, high_even, 0xdd);
    b[k + 12] = _mm512_shuffle_f32x4(low_odd, high_odd, 0xdd);
  }
  MK_UNROLL_ALL
  for (int c = 0; c < 16; ++c) {
    float* place = out + c * out_step;
    _mm512_storeu_ps(place, add ? _mm512_add_ps(_mm512_loadu_ps(place), b[c]) : b[c]);
  }
}
#elif defined(__AVX2__)
// The same for 8 r and 8 c of floats.
template <bool add>
MK_INLINE void transpose_whole(const float* in, int64_t in_step, float* out, int64_t out_step) {
  __m256 a[8], b[8];
  MK_UNROLL_ALL
  for (int r = 0; r < 8; ++r) a[r] = _mm256_loadu_ps(in + r * in_step);
  MK_UNROLL_ALL
  for (int r = 0; r < 8; r += 2) {
    b[r] = _mm256_unpacklo_ps(a[r], a[r + 1]);
    b[r + 1] = _mm256_unpackhi_ps(a[r], a[r + 1]);
  }
  MK_UNROLL_ALL
  for (int r = 0; r < 8; r += 4) {
    const auto pair = [&](int k) { return _mm256_castps_pd(b[r + k]); };
    a[r] = _mm256_castpd_ps(_mm256_unpacklo_pd(pair(0), pair(2)));
    a[r + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(pair(0), pair(2)));
    a[r + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(pair(1), pair(3)));
    a[r + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(pair(1), pair(3)));
  }
  MK_UNROLL_ALL
  for (int k = 0; k < 4; ++k) {
    b[k] = _mm256_permute2f128_ps(a[k], a[k + 4], 0x20);
    b[k + 4] = _mm256_permute2f128_ps(a[k], a[k + 4], 0x31);
  }
  MK_UNROLL_ALL
  for (int c = 0; c < 8; ++c) {
    float* place = out + c * out_step;
    _mm256_storeu_ps(place, add ? _mm256_add_ps(_mm256_loadu_ps(place), b[c]) : b[c]);
  }
}
#endif

// Rows and columns of floats that are transposed in registers as a whole.
#if defined(__AVX512F__)
constexpr int64_t transpose_block = 16;
#elif defined(__AVX2__)
constexpr int64_t transpose_block = 8;
#endif

// out[c * out_step + r] = in[r * in_step + c] for all r < rows, c < wide, or that much is added to out.
template <bool add = false, class T>
inline void transpose(const T* in, int64_t in_step, int64_t rows, int64_t wide, T* out, int64_t out_step) {
#if defined(__AVX2__)
  if constexpr (sizeof(T) == 4) {
    constexpr int64_t block = transpose_block;
    if (rows >= block && wide >= block) {
      const int64_t whole_rows = rows / block * block, whole_wide = wide / block * block;
      for (int64_t r = 0; r < whole_rows; r += block)
        for (int64_t c = 0; c < whole_wide; c += block)
          transpose_whole<add>(in + r * in_step + c, in_step, out + c * out_step + r, out_step);
      if (whole_wide < wide)
        transpose<add>(in + whole_wide, in_step, whole_rows, wide - whole_wide, out + whole_wide * out_step, out_step);
      if (whole_rows < rows)
        transpose<add>(in + whole_rows * in_step, in_step, rows - whole_rows, wide, out + whole_rows, out_step);
      return;
    }
  }
#endif
  const auto put = [&](int64_t row, int64_t column) {
    T* place = out + column * out_step + row;
    *place = add ? *place + in[row * in_step + column] : in[row * in_step + column];
  };
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    int64_t c = 0;
    for (; c + 4 <= wide; c += 4)
      Quad<T>::template transpose<add>(in + r * in_step + c, in_step, out + c * out_step + r, out_step);
    for (; c < wide; ++c)
      for (int64_t k = r; k < r + 4; ++k) put(k, c);
  }
  for (; r < rows; ++r)
    for (int64_t c = 0; c < wide; ++c) put(r, c);
}

// The same, not inlined: each copy of it is half a second of compiling.
template <class T>
__attribute__((noinline)) void transpose_apart(const T* in, int64_t in_step, int64_t rows, int64_t wide, T* out,
                                               int64_t out_step) {
  transpose(in, in_step, rows, wide, out, out_step);
}

}  // namespace mk::MK_ISA
