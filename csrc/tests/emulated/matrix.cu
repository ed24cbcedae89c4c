// Products of matrices by warps (wmma): factors of 16 bits, sums in float.
#include "tests/emulated/cases.h"
#if defined(MK_EMULATOR)
#include "emulator/matrix.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>
#endif

namespace mk::MK_ISA {
namespace wmma = nvcuda::wmma;

// out (M,N) = a (M,depth) b (depth,N): a row by row, b column by column where `columns`, out column by column.
template <int M, int N, class T, bool columns>
__device__ void multiply(const T* a, const T* b, float* out, int depth) {
  using Layout = std::conditional_t<columns, wmma::col_major, wmma::row_major>;
  wmma::fragment<wmma::accumulator, M, N, 16, float> sum;
  wmma::fill_fragment(sum, 0.0f);
  for (int k = 0; k < depth; k += 16) {
    wmma::fragment<wmma::matrix_a, M, N, 16, T, wmma::row_major> left;
    wmma::fragment<wmma::matrix_b, M, N, 16, T, Layout> right;
    wmma::load_matrix_sync(left, a + k, static_cast<unsigned>(depth));
    wmma::load_matrix_sync(right, columns ? b + k : b + k * N, static_cast<unsigned>(columns ? depth : N));
    wmma::mma_sync(sum, left, right, sum);
  }
  for (int k = 0; k < sum.num_elements; ++k) sum.x[k] *= 2;
  wmma::store_matrix_sync(out, sum, M, wmma::mem_col_major);
}

__global__ void multiply_16_16_bfloat16(const __nv_bfloat16* a, const __nv_bfloat16* b, float* out, int depth) {
  multiply<16, 16, __nv_bfloat16, true>(a, b, out, depth);
}
__global__ void multiply_8_32_bfloat16(const __nv_bfloat16* a, const __nv_bfloat16* b, float* out, int depth) {
  multiply<8, 32, __nv_bfloat16, false>(a, b, out, depth);
}
__global__ void multiply_32_8_half(const __half* a, const __half* b, float* out, int depth) {
  multiply<32, 8, __half, true>(a, b, out, depth);
}

}  // namespace mk::MK_ISA

#if defined(MK_EMULATOR)
using namespace mk::MK_ISA;

namespace {

// Numbers of a few bits: products and sums are exact, so that their order does not matter.
int left(int m, int k) { return (m * 5 + k * 3) % 17 - 8; }
int right(int k, int n) { return (k * 7 + n * 11) % 13 - 6; }

template <class T, class Narrow, class Kernel>
std::string check(unsigned order, int m_size, int n_size, bool columns, Narrow narrow, Kernel kernel) {
  constexpr int depth = 48;
  struct alignas(32) Aligned {
    T value[32 * depth];
  };
  auto a = std::make_unique<Aligned>(), b = std::make_unique<Aligned>();
  struct alignas(32) Sums {
    float value[256];
  };
  auto sums = std::make_unique<Sums>();
  for (int m = 0; m < m_size; ++m)
    for (int k = 0; k < depth; ++k) a->value[m * depth + k] = narrow(static_cast<float>(left(m, k)));
  for (int k = 0; k < depth; ++k)
    for (int n = 0; n < n_size; ++n)
      b->value[columns ? n * depth + k : k * n_size + n] = narrow(static_cast<float>(right(k, n)));
  const auto problem = emulate({1, 32}, order, [&] { kernel(a->value, b->value, sums->value, depth); });
  return problem + differs(std::vector<float>(sums->value, sums->value + m_size * n_size), [&](int at) {
           int sum = 0;
           for (int k = 0; k < depth; ++k) sum += left(at % m_size, k) * right(k, at / m_size);
           return static_cast<float>(2 * sum);
         });
}

}  // namespace

int main(int words, char** word) {
  const Case cases[] = {
      {"16 by 16 bfloat16",
       [](unsigned order) {
         return check<__nv_bfloat16>(order, 16, 16, true, __float2bfloat16, multiply_16_16_bfloat16);
       }},
      {"8 by 32 bfloat16",
       [](unsigned order) {
         return check<__nv_bfloat16>(order, 8, 32, false, __float2bfloat16, multiply_8_32_bfloat16);
       }},
      {"32 by 8 half",
       [](unsigned order) { return check<__half>(order, 32, 8, true, __float2half, multiply_32_8_half); }},
      {"conversions",
       [](unsigned order) -> std::string {
         if (order > 0) return "";
         for (unsigned bits = 0; bits < 0x10000; ++bits) {
           const float wide = __half2float({static_cast<uint16_t>(bits)});
           _Float16 own;
           std::memcpy(&own, &bits, sizeof own);
           if (std::isnan(wide) ? !std::isnan(static_cast<float>(own)) : wide != static_cast<float>(own))
             return "wrong: a half as a float";
         }
         for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 7919) {
           const auto word32 = static_cast<uint32_t>(bits);
           float wide;
           std::memcpy(&wide, &word32, sizeof wide);
           const auto own = static_cast<_Float16>(wide);
           uint16_t own_bits;
           std::memcpy(&own_bits, &own, sizeof own_bits);
           if (!std::isnan(wide) && __float2half(wide).bits != own_bits) return "wrong: a float as a half";
           if (std::isnan(wide) != std::isnan(__half2float(__float2half(wide)))) return "wrong: a NaN as a half";
           // the nearer of the two neighbours, to the even one of two that are as near
           const float low = __bfloat162float({static_cast<uint16_t>(word32 >> 16)});
           const float high = __bfloat162float({static_cast<uint16_t>((word32 >> 16) + 1)});
           if (std::isnan(wide) || !std::isfinite(high)) continue;
           const double down = std::fabs(static_cast<double>(wide) - low),
                        up = std::fabs(high - static_cast<double>(wide));
           const bool takes_low = down < up || (down == up && (word32 >> 16) % 2 == 0);
           if (__bfloat162float(__float2bfloat16(wide)) != (takes_low ? low : high))
             return "wrong: a float as a bfloat16";
         }
         return "";
       }},
  };
  return run_cases(cases, words, word);
}
#endif
