// Sequences of a small batch: lanes are units, because rows would not fill a pack.  Sums are made in the same order as
// over panels (products.h), so a row has the same bits either way.
//
// Weights are read in tiles of 16 outputs, [reduction dimension][output]; a matrix says how its tiles are laid out from
// the tensor.  Where a call reads the weights often they are laid out once, else a piece at a time, on the way.
#pragma once
#include "kernels/sequences/layout.h"

namespace mk::MK_ISA {

constexpr int small_tile = 16;
constexpr int small_streams = 4;     // tiles that one product takes at most
constexpr int64_t small_depth = 64;  // of the reduction dimension, laid out on the way at a time

// out[r][out_step s + lane] += sum over k of weights[step s + 16 k + lane] rows[r][first + k] for R rows, S tiles.
template <class T>
using SmallBatchProduct = void(int64_t depth, const T* weights, int64_t step, const T* const* rows, int64_t first,
                               T* const* out, int64_t out_first, int64_t out_step);

template <class T, int R, int S>
MK_NOINLINE void small_batch_product(int64_t depth, const T* weights, int64_t step, const T* const* rows, int64_t first,
                                     T* const* out, int64_t out_first, int64_t out_step) {
  constexpr int width = Number<Pack<T>>::width, P = small_tile / width;
  const T* values[R];
  MK_UNROLL_ALL
  for (int r = 0; r < R; ++r) values[r] = rows[r] + first;
  const auto place = [=](int r, int p) { return out[r] + out_first + p / P * out_step + p % P * width; };
  RegisterBlock<T, R, S * P> block;
  block.load(place);
  block.template add_product<MultiplyAdd, true>(
      depth, [&](int r, int64_t k) { return values[r][k]; },
      [=](int p, int64_t k) { return weights + k * small_tile + p / P * step + p % P * width; });
  block.store(place);
}

template <class T>
struct SmallBatchProducts {
  static constexpr int packs = small_tile / Number<Pack<T>>::width;
  static constexpr int registers = many_registers ? 24 : 12;  // for sums
  static constexpr int streams_of(int rows) {
    const int fit = registers / (packs * rows);
    return fit < small_streams ? fit : small_streams;
  }
  static constexpr int most_rows = streams_of(4) > 0 ? 4 : streams_of(2) > 0 ? 2 : 1;
  static MK_INLINE int rows_at_once(int64_t left) { return left >= most_rows ? most_rows : left >= 2 ? 2 : 1; }

  template <int R>
  static SmallBatchProduct<T>* with_rows(int streams) {
    if constexpr (streams_of(R) >= 4)
      if (streams == 4) return small_batch_product<T, R, 4>;
    if constexpr (streams_of(R) >= 3)
      if (streams == 3) return small_batch_product<T, R, 3>;
    if constexpr (streams_of(R) >= 2)
      if (streams == 2) return small_batch_product<T, R, 2>;
    return small_batch_product<T, R, 1>;
  }
  static SmallBatchProduct<T>* of(int rows, int streams) {
    if constexpr (most_rows >= 4)
      if (rows == 4) return with_rows<4>(streams);
    if constexpr (most_rows >= 2)
      if (rows == 2) return with_rows<2>(streams);
    return with_rows<1>(streams);
  }
  static int streams(int64_t rows) {
    const int at_once = rows_at_once(rows);
    return at_once == 4 ? streams_of(4) : at_once == 2 ? streams_of(2) : streams_of(1);
  }

  // Adds to out[r][out_first + out_step t ...] the products of rows[r] with `tiles` tiles of a matrix, every
  // tile_step-th from first_tile.  `space`: small_streams tiles of small_depth.
  template <class Matrix>
  static void add(const Matrix& m, int64_t first_tile, int64_t tile_step, int64_t tiles, int64_t rows,
                  const T* const* values, T* const* out, int64_t out_first, int64_t out_step, T* space) {
    const FlushedDenormals scope(m.s.bfloat16);
    const int64_t at_once = streams(rows), numbers = m.depth * small_tile;
    for (int64_t t = 0, taken; t < tiles; t += taken) {
      taken = smaller(at_once, tiles - t);
      const int64_t tile = first_tile + t * tile_step, place = out_first + t * out_step;
      if (m.packed != nullptr) {
        run(static_cast<int>(taken), m.depth, m.packed + tile * numbers, tile_step * numbers, rows, values, 0, out,
            place, out_step);
        continue;
      }
      for (int64_t k = 0; k < m.depth; k += small_depth) {
        const int64_t end = smaller(k + small_depth, m.depth), step = small_depth * small_tile;
        for (int64_t s = 0; s < taken; ++s) m.lay_out(tile + s * tile_step, k, end, space + s * step);
        run(static_cast<int>(taken), end - k, space, step, rows, values, k, out, place, out_step);
      }
    }
  }
  static void run(int streams, int64_t depth, const T* weights, int64_t step, int64_t rows, const T* const* values,
                  int64_t first, T* const* out, int64_t out_first, int64_t out_step) {
    for (int64_t r = 0, taken; r < rows; r += taken) {
      taken = rows_at_once(rows - r);
      of(static_cast<int>(taken), streams)(depth, weights, step, values + r, first, out + r, out_first, out_step);
    }
  }
};

// What every matrix of weights is: blocks of H rows of `wide` elements, and a reduction dimension of `depth`.  Those of
// bfloat16 are in the order of to_pairs without words, as are the rows that meet them.
template <class T>
struct SmallBatchMatrix {
  const SequenceShape& s;
  const T* weight;
  const int* gate_of;  // the block of rows for each slot of sums
  int64_t wide, depth;
  T* packed;  // null: laid out on the way

  // All tiles from `first` up to `end`, every tile_step numbers long.
  template <class Matrix>
  static void pack(const Matrix& m, int64_t first, int64_t end) {
    if (m.packed != nullptr)
      for (int64_t tile = first; tile < end; ++tile)
        m.lay_out(tile, 0, m.depth, m.packed + tile * m.depth * small_tile);
  }
};

// Forward: a tile is 16 units of a slot, [slot][tile of units]; the reduction goes along a row.
template <class T>
struct SmallForwardMatrix : SmallBatchMatrix<T> {
  void lay_out(int64_t tile, int64_t begin, int64_t end, T* out) const {
    const int64_t unit = tile % this->s.unit_tiles * small_tile, units = smaller(small_tile, this->s.hidden - unit);
    const int64_t row = this->gate_of[tile / this->s.unit_tiles] * this->s.hidden + unit;
    const int64_t used = smaller(end, this->wide) - begin;
    if (units < small_tile || begin + used < end) fill(out, (end - begin) * small_tile, T(0));
    transpose(this->weight + row * this->wide + begin, this->wide, units, used, out, small_tile);
    if (this->s.bfloat16) to_pairs(false, end - begin, small_tile, out, out);
  }
};

// Backward: a tile is 16 columns; the reduction goes down the rows, slot after slot.
template <class T>
struct SmallBackwardMatrix : SmallBatchMatrix<T> {
  void lay_out(int64_t tile, int64_t begin, int64_t end, T* out) const {
    const int64_t column = tile * small_tile, used = smaller(small_tile, this->wide - column);
    T* place = out;
    const int64_t slot_depth = this->s.depth_h;
    int64_t slot = begin / slot_depth, unit = begin % slot_depth;
    for (int64_t k = begin; k < end; ++k, place += small_tile) {
      const T* in = this->weight + (this->gate_of[slot] * this->s.hidden + unit) * this->wide + column;
      if (unit == this->s.hidden) {  // the zero that makes the depth even
        fill(place, small_tile, T(0));
      } else if (used == small_tile) {
        __builtin_memcpy(place, in, small_tile * sizeof(T));
      } else {
        fill(place, small_tile, T(0));
        for (int64_t c = 0; c < used; ++c) place[c] = in[c];
      }
      if (++unit == slot_depth) unit = 0, ++slot;
    }
    if (this->s.bfloat16) to_pairs(false, end - begin, small_tile, out, out);
  }
};

// The part of `count` that belongs to a member of a team.
struct SmallBatchShare {
  int64_t first, end;
  SmallBatchShare(int64_t count, int member, int members)
      : first(count * member / members), end(count * (member + 1) / members) {}
};

}  // namespace mk::MK_ISA
