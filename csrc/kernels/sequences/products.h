// The products of sequences: every one is  out[u][lane] = sum over k of a[k][u] b[k][lane],  a a scalar of the weights
// (or of the sums' gradients) and b a row of a panel.  Each output is one chain of fused multiply-adds in the order of
// k, so its bits do not depend on how the outputs are cut into register blocks.
//
// Products of bfloat16 follow vdpbf16ps (AVX512_BF16) everywhere: of each two numbers the second is multiplied and
// added first, and numbers below the smallest normal one are 0.  Elsewhere the same bits come from fused multiply-adds
// over rows in that order (to_pairs), in the scope of FlushedDenormals.
#pragma once
#include "common/matmul.h"
#include "kernels/sequences/rows.h"

namespace mk::MK_ISA {

// What a product of bfloat16 does with a word of a and one of b.
struct MultiplyAddPairs {
  template <class V>
  static MK_INLINE V add(V a, V b, V sum) {
#if defined(__AVX512F__)
    if constexpr (sizeof(V) == 64) {  // assembly, because the set that this is compiled for lacks the instruction
      __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(a.raw), "v"(b.raw));
      return sum;
    }
#endif
    return fma(first_of(a), first_of(b), fma(second_of(a), second_of(b), sum));
  }
};

// The width of a register block that wastes least on `outputs` outputs; the widest of several.
struct BlockWidth {
  int outputs;
  int64_t count;
};
template <int N>
MK_INLINE BlockWidth best_block(const int (&widths)[N], int64_t outputs) {
  BlockWidth best{0, 0};
  for (int width : widths) {
    const int64_t count = (outputs + width - 1) / width;
    if (best.outputs == 0 || count * width <= best.count * best.outputs) best = {width, count};
  }
  return best;
}

// Products over panels of `rows` columns, chosen at run time by the number of outputs.
template <class T, int rows>
struct Products {
  static constexpr int width = Number<Pack<T>>::width;
  static constexpr int packs = rows >= 2 * width ? 2 : 1;
  static constexpr int scale = many_registers ? 4 / packs : 1;  // gates of an LSTM whose sums fit into the registers

  static Product<T>* of(int outputs, bool pairs) {
    if constexpr (sizeof(T) == sizeof(float))
      if (pairs) return with_step<MultiplyAddPairs>(outputs);
    return with_step<MultiplyAdd>(outputs);
  }
  template <class Step>
  static Product<T>* with_step(int outputs) {
    switch (outputs) {
      case 4 * scale:
        return product<T, rows, packs, 4 * scale, Step>;
      case 5 * scale:
        return product<T, rows, packs, 5 * scale, Step>;
      case 6 * scale:
        return product<T, rows, packs, 6 * scale, Step>;
      default:
        return product<T, rows, packs, 12, Step>;  // three gates of a GRU; never reached with few registers
    }
  }
  static BlockWidth block(int64_t outputs) { return best_block({4 * scale, 5 * scale, 6 * scale}, outputs); }
};

// The product for weight gradients: out[u][column] += sum over rows of a[u][row] b[row][column], for 6 u and P packs of
// columns, the last of which may be half a pack.  The rows come in `segments` of a panel's rows (or of words of two of
// them): a is a panel in each, a_step numbers apart; b is dense.
template <class T>
using GradientProduct = void(int64_t segments, const T* a, int64_t a_step, const T* b, T* out, int64_t out_step);

constexpr int gradient_outputs = 6;

template <class T, int rows, int P, bool half, class Step>
MK_NOINLINE void gradient_product(int64_t segments, const T* a, int64_t a_step, const T* b, T* out, int64_t out_step) {
  constexpr int width = Number<Pack<T>>::width, U = gradient_outputs, whole = half ? P - 1 : P;
  constexpr int64_t b_step = whole * width + (half ? width / 2 : 0);
  RegisterBlock<T, U, whole, half> block;
  block.start([](int) { return T(0); });
  for (int64_t segment = 0; segment < segments; ++segment, a += a_step, b += rows * b_step)
    block.template add_product<Step>(
        rows, [=](int u, int64_t row) { return a[u * rows + row]; },
        [=](int p, int64_t row) { return b + row * b_step + p * width; });
  block.add_to(out, out_step);
}

template <class T, int rows>
struct GradientProducts {
  static constexpr int most = many_registers ? 4 : 2;  // packs of columns
  // Of 512 bits a half costs AMD's Zen 4 half the time, and Intel's processors no more than a whole.
  static constexpr bool halves = many_registers;

  static GradientProduct<T>* of(int64_t packs, bool half, bool pairs) {
    if constexpr (sizeof(T) == sizeof(float))
      if (pairs) return with_step<rows / 2, false, MultiplyAddPairs>(packs);
    if constexpr (halves)
      if (half) return with_step<rows, true, MultiplyAdd>(packs);
    return with_step<rows, false, MultiplyAdd>(packs);
  }
  template <int taken, bool half, class Step>
  static GradientProduct<T>* with_step(int64_t packs) {
    if constexpr (most == 4) {
      if (packs == 4) return gradient_product<T, taken, 4, half, Step>;
      if (packs == 3) return gradient_product<T, taken, 3, half, Step>;
    }
    return packs == 2 ? gradient_product<T, taken, 2, half, Step> : gradient_product<T, taken, 1, half, Step>;
  }
};

}  // namespace mk::MK_ISA
