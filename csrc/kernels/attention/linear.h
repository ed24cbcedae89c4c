// A projection within a step: out[u] = bias[u] + sum over k of weight[u][k] in[k], for a panel of rows.
#pragma once
#include "kernels/sequences/products.h"

namespace mk::MK_ISA {

template <class T, int rows>
struct StepProjection {
  const int64_t outputs, depth;
  const BlockWidth block;

  StepProjection(int64_t of_outputs, int64_t of_depth)
      : outputs(of_outputs), depth(of_depth), block(Products<T, rows>::block(of_outputs)) {}

  int64_t padded_outputs() const { return block.count * block.outputs; }  // rows of numbers that `run` writes
  int64_t packed_numbers() const { return padded_outputs() * (depth + 1); }
  // The same for every kind of panel.
  static int64_t most_packed(int64_t outputs, int64_t depth) { return (outputs + most_padding) * (depth + 1); }
  static constexpr int64_t most_padding = 24;

  // value(u, k) is a weight, start(u) a bias.  [block][k][u of the block], then the biases.
  template <class Value, class Start>
  void pack(const Value& value, const Start& start, T* packed) const {
    T* const biases = packed + padded_outputs() * depth;
    for (int64_t u = 0; u < padded_outputs(); ++u) {
      T* out = packed + u / block.outputs * block.outputs * depth + u % block.outputs;
      for (int64_t k = 0; k < depth; ++k, out += block.outputs) *out = u < outputs ? value(u, k) : T(0);
      biases[u] = u < outputs ? start(u) : T(0);
    }
  }

  void run(const T* packed, const T* in, T* out) const {
    Product<T>* const product_of_block = Products<T, rows>::of(block.outputs, false);
    const T* const biases = packed + padded_outputs() * depth;
    for (int64_t b = 0; b < block.count; ++b)
      product_of_block(depth, packed + b * block.outputs * depth, in, biases + b * block.outputs,
                       out + b * block.outputs * rows);
  }
};

}  // namespace mk::MK_ISA
