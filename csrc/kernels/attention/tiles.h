// The products of attention.  Every row of the batch has keys and values of its own, so both factors are packs of rows:
// keys and values lie as [tile of places][k][place of the tile][lane], so that each product reads one stream.
//
// Each sum is one chain of multiply-adds, over k or over the places in their order.
#pragma once
#include "cells/gates.h"
#include "common/matmul.h"

namespace mk::MK_ISA {

constexpr int place_tile = many_registers ? 8 : 4;
constexpr int query_tile = 2;

// `lanes` rows of the batch, which lie `rows` apart in all panels but keys and values.
template <class T, int rows>
struct Places {
  using V = Pack<T>;
  static constexpr int width = Number<V>::width;
  static constexpr int lanes = rows < 2 * width ? rows : 2 * width;
  static constexpr int parts = rows / lanes, P = lanes / width, U = place_tile;

  static int64_t tiles(int64_t source) { return (source + U - 1) / U; }
  static int64_t padded(int64_t source) { return tiles(source) * U; }

  // out[s] = sum over k of m[s][k] q[k]
  static MK_NOINLINE void dots(int64_t count, int64_t depth, const T* m, const T* q, T* out) {
    for (int64_t tile = 0; tile < count; ++tile, m += depth * U * lanes, out += U * rows) {
      V sums[U][P];
      MK_UNROLL_ALL
      for (int u = 0; u < U; ++u) {
        MK_UNROLL_ALL
        for (int p = 0; p < P; ++p) sums[u][p] = splat<V>(0);
      }
      const T *place = m, *factor = q;
      for (int64_t k = 0; k < depth; ++k, place += U * lanes, factor += rows) {
        V f[P];
        MK_UNROLL_ALL
        for (int p = 0; p < P; ++p) f[p] = V::load(factor + p * width);
        MK_UNROLL_ALL
        for (int u = 0; u < U; ++u) {
          MK_UNROLL_ALL
          for (int p = 0; p < P; ++p) sums[u][p] = fma(V::load(place + u * lanes + p * width), f[p], sums[u][p]);
        }
      }
      MK_UNROLL_ALL
      for (int u = 0; u < U; ++u) {
        MK_UNROLL_ALL
        for (int p = 0; p < P; ++p) sums[u][p].store(out + u * rows + p * width);
      }
    }
  }

  // out[k] = sum over s of a[s] m[s][k].  Few k at a time, whose sums stay in the first level of the cache.
  static constexpr int64_t mixed = 64;
  static MK_NOINLINE void mix(int64_t count, int64_t depth, const T* m, const T* a, T* out) {
    for (int64_t k = 0; k < depth; ++k)
      for (int p = 0; p < P; ++p) splat<V>(0).store(out + k * rows + p * width);
    for (int64_t first = 0; first < depth; first += mixed) {
      const int64_t end = first + mixed < depth ? first + mixed : depth;
      for (int64_t tile = 0; tile < count; ++tile) {
        V f[U][P];
        MK_UNROLL_ALL
        for (int u = 0; u < U; ++u) {
          MK_UNROLL_ALL
          for (int p = 0; p < P; ++p) f[u][p] = V::load(a + (tile * U + u) * rows + p * width);
        }
        const T* place = m + (tile * depth + first) * U * lanes;
        T* sum = out + first * rows;
        for (int64_t k = first; k < end; ++k, place += U * lanes, sum += rows) {
          V s[P];
          MK_UNROLL_ALL
          for (int p = 0; p < P; ++p) s[p] = V::load(sum + p * width);
          MK_UNROLL_ALL
          for (int u = 0; u < U; ++u) {
            MK_UNROLL_ALL
            for (int p = 0; p < P; ++p) s[p] = fma(V::load(place + u * lanes + p * width), f[u][p], s[p]);
          }
          MK_UNROLL_ALL
          for (int p = 0; p < P; ++p) s[p].store(sum + p * width);
        }
      }
    }
  }

  // out[s] = sum over k of v[k] tanh(m[s][k] + q[k])
  static MK_NOINLINE void additive(int64_t count, int64_t depth, const T* m, const T* q, const T* v, T* out) {
    for (int64_t tile = 0; tile < count; ++tile, out += U * rows)
      for (int p = 0; p < P; ++p) {
        V sums[U];
        for (int u = 0; u < U; ++u) sums[u] = splat<V>(0);
        const T* place = m + tile * depth * U * lanes + p * width;
        for (int64_t k = 0; k < depth; ++k, place += U * lanes) {
          const V factor = splat<V>(v[k]), query = V::load(q + k * rows + p * width);
          for (int u = 0; u < U; ++u) sums[u] = fma(factor, gate_tanh(V::load(place + u * lanes) + query), sums[u]);
        }
        for (int u = 0; u < U; ++u) sums[u].store(out + u * rows + p * width);
      }
  }

  // From da[s], the gradients of those sums: dm[s][k], dq[k] and dv[k] (by lane) are added to.
  static MK_NOINLINE void additive_backward(int64_t count, int64_t depth, const T* m, const T* q, const T* v,
                                            const T* da, T* dm, T* dq, T* dv) {
    const V one = splat<V>(1);
    for (int64_t tile = 0; tile < count; ++tile, da += U * rows)
      for (int64_t k = 0; k < depth; ++k)
        for (int p = 0; p < P; ++p) {
          const int64_t panel = k * rows + p * width, place = (tile * depth + k) * U * lanes + p * width;
          const V factor = splat<V>(v[k]), query = V::load(q + panel);
          V sum_q = V::load(dq + panel), sum_v = V::load(dv + panel);
          for (int u = 0; u < U; ++u) {
            const V t = gate_tanh(V::load(m + place + u * lanes) + query),
                    arriving = V::load(da + u * rows + p * width);
            const V slope = arriving * factor * fma(-t, t, one);
            (V::load(dm + place + u * lanes) + slope).store(dm + place + u * lanes);
            sum_q = sum_q + slope;
            sum_v = fma(arriving, t, sum_v);
          }
          sum_q.store(dq + panel);
          sum_v.store(dv + panel);
        }
  }

  // out[k][u] = sum over t of a[t][u] q[t][k] for query_tile k and the places of a tile; steps are dense in both.
  static MK_NOINLINE void outer(int64_t steps, const T* a, const T* q, T* out) {
    constexpr int K = query_tile;
    for (int p = 0; p < P; ++p) {
      V sums[K][U];
      MK_UNROLL_ALL
      for (int k = 0; k < K; ++k) {
        MK_UNROLL_ALL
        for (int u = 0; u < U; ++u) sums[k][u] = splat<V>(0);
      }
      for (int64_t t = 0; t < steps; ++t) {
        V f[K];
        MK_UNROLL_ALL
        for (int k = 0; k < K; ++k) f[k] = V::load(q + (t * K + k) * lanes + p * width);
        MK_UNROLL_ALL
        for (int u = 0; u < U; ++u) {
          const V value = V::load(a + (t * U + u) * lanes + p * width);
          MK_UNROLL_ALL
          for (int k = 0; k < K; ++k) sums[k][u] = fma(value, f[k], sums[k][u]);
        }
      }
      MK_UNROLL_ALL
      for (int k = 0; k < K; ++k) {
        MK_UNROLL_ALL
        for (int u = 0; u < U; ++u) sums[k][u].store(out + (k * U + u) * lanes + p * width);
      }
    }
  }
};

}  // namespace mk::MK_ISA
