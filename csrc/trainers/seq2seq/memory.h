// Where everything lies: a model's parameters, a team's memory, a thread's scratch.  Counts are of numbers R.
// Values of samples are stored [feature][block_samples]: the lanes of a pack are samples.
#pragma once
#include "common/arena.h"
#include "common/lanes.h"
#include "trainers/seq2seq/program.h"

namespace mk::MK_ISA {

constexpr int64_t S = block_samples;
constexpr int gate_count = 4;  // i, f, g, o
constexpr int row_tile = 4;    // rows that the products of products.h take at a time

struct Sizes {
  int64_t A, Tin, Tout, H, F, blocks;  // F = 2H features
  int64_t G, J;                        // gate columns 4H, and as a padded row
  int64_t feature_row, output_row;     // F and A padded
  int64_t A4, H4, F4;                  // rounded up to tiles of rows
  int64_t table_row;                   // A + 1 padded

  explicit Sizes(const Seq2SeqProgram& p)
      : A(p.alphabet),
        Tin(p.steps_in),
        Tout(p.steps_out),
        H(p.hidden),
        F(2 * H),
        blocks((p.batch + S - 1) / S),
        G(gate_count * H),
        J(rounded_up(G, 16)),
        feature_row(rounded_up(F, 16)),
        output_row(rounded_up(A, 16)),
        A4(rounded_up(A, row_tile)),
        H4(rounded_up(H, row_tile)),
        F4(rounded_up(F, row_tile)),
        table_row(rounded_up(A + 1, 16)) {}
};

MK_INLINE Seq2SeqOffsets offsets_of(const Sizes& z) {
  Seq2SeqOffsets o{};
  int64_t next = 0;
  const auto take = [&](int64_t count) {
    const int64_t taken = next;
    next += count;
    return taken;
  };
  for (int d = 0; d < 2; ++d) o.encoder[d] = {take(z.A * z.J), take(z.H * z.J), take(z.J)};
  for (int d = 0; d < 2; ++d) o.decoder[d] = {take(z.F * z.J), take(z.H * z.J), take(z.J)};
  for (int n = 0; n < 2; ++n) o.norm[n] = {take(z.feature_row), take(z.feature_row)};
  o.output = take(z.F * z.output_row);
  o.output_bias = take(z.output_row);
  o.count = next;
  o.gate_row = z.J;
  o.feature_row = z.feature_row;
  o.output_row = z.output_row;
  return o;
}

// The weights as the products read them: tiles of four rows, [rows / 4][inputs][4].  What is read forward stands there
// times the scale of its gate (cells/scaled_gates.h).
template <class T>
struct Packed {
  struct Direction {
    T* table;               // encoder: [4H][table_row], what token a adds to a gate, the bias included
    T *input, *input_back;  // decoder
    T *recurrent, *recurrent_back;
    T* bias;  // decoder: [4H]
  } encoder[2], decoder[2];
  T *output, *output_back;

  Packed(const Sizes& z, Arena& m) {
    for (Direction& d : encoder) {
      d.table = m.take<T>(z.G * z.table_row);
      d.input = d.input_back = d.bias = nullptr;
      d.recurrent = m.take<T>(z.G * z.H);
      d.recurrent_back = m.take<T>(z.H4 * z.G);
    }
    for (Direction& d : decoder) {
      d.table = nullptr;
      d.bias = m.take<T>(z.G);
      d.input = m.take<T>(z.G * z.F);
      d.input_back = m.take<T>(z.F4 * z.G);
      d.recurrent = m.take<T>(z.G * z.H);
      d.recurrent_back = m.take<T>(z.H4 * z.G);
    }
    output = m.take<T>(z.A4 * z.F);
    output_back = m.take<T>(z.F4 * z.A);
  }
};

// What forward leaves for backward, of one direction of a layer and one block of samples; steps in the order in which
// the direction takes them.
template <class T>
struct Saved {
  using Int = typename IntOf<T>::type;
  Int* token_ids;                 // encoder: [steps][S], the token id + 1
  T *gates, *cells, *tanh_cells;  // [steps][4H][S], [steps][H][S], and tanh of the cells
  T* states;                      // [steps] times state_step, each [H][S]
  int64_t state_step;
};

template <class T>
struct SampleBlock {
  Saved<T> encoder[2], decoder[2];
  T* decoded;                 // [Tout][F][S], by time: the decoder's states
  T* ddecoded;                // [Tout][F4][S]: gradient of the second norm's output
  T* dencoded[2];             // [F4][S]: gradient of the first norm's output by direction of the decoder
  T* statistics[2];           // per norm: [2][feature_row], mean and sum of squared deviations
  T *dnorm, *dnorm_first[2];  // [2][feature_row]: sums of the gradient and of it times the normalised value
  T* gradient;                // of all parameters
  double* loss;

  SampleBlock(const Sizes& z, Arena& m) {
    using Int = typename IntOf<T>::type;
    for (Saved<T>& s : encoder) {
      s = {m.take<Int>(z.Tin * S),     m.take<T>(z.Tin * z.G * S), m.take<T>(z.Tin * z.H * S),
           m.take<T>(z.Tin * z.H * S), m.take<T>(z.Tin * z.H * S), z.H * S};
    }
    decoded = m.take<T>(z.Tout * z.F * S);
    for (Saved<T>& s : decoder)
      s = {nullptr, m.take<T>(z.Tout * z.G * S), m.take<T>(z.Tout * z.H * S), m.take<T>(z.Tout * z.H * S), nullptr, 0};
    const int64_t time = z.F * S;
    decoder[0].states = decoded;
    decoder[0].state_step = time;
    decoder[1].states = decoded + (z.Tout - 1) * time + z.H * S;
    decoder[1].state_step = -time;
    ddecoded = m.take<T>(z.Tout * z.F4 * S);
    for (T*& d : dencoded) d = m.take<T>(z.F4 * S);
    for (T*& s : statistics) s = m.take<T>(2 * z.feature_row);
    for (T*& d : dnorm_first) d = m.take<T>(2 * z.feature_row);
    dnorm = m.take<T>(2 * z.feature_row);
    gradient = m.take<T>(offsets_of(z).count);
    loss = m.take<double>(1);
  }

  static int64_t bytes(const Sizes& z) {
    Arena m(nullptr);
    SampleBlock(z, m);
    return m.used();
  }
};

// What a thread needs besides.
template <class T>
struct Scratch {
  T* normed;            // [F][S]
  T* input_product;     // [4H][S]
  T* dgates;            // [J][S]
  T* dgates_columns;    // [S][J], or [S][output_row]
  T* dgates_sum;        // [J][S]
  T *dstates, *dcells;  // [H4][S], [H][S]
  T* dtable;            // [A + 1][J]
  T* logits;            // [output_row][S]
  T* norm[6];           // [feature_row] each
  char* block;          // evaluation only
  int64_t bytes;

  Scratch(const Sizes& z, void* memory) {
    Arena m(memory);
    normed = m.take<T>(z.F * S);
    input_product = m.take<T>(z.G * S);
    dgates = m.take<T>(z.J * S);
    dgates_columns = m.take<T>((z.J > z.output_row ? z.J : z.output_row) * S);
    dgates_sum = m.take<T>(z.J * S);
    dstates = m.take<T>(z.H4 * S);
    dcells = m.take<T>(z.H * S);
    dtable = m.take<T>((z.A + 1) * z.J);
    logits = m.take<T>(z.output_row * S);
    for (T*& n : norm) n = m.take<T>(z.feature_row);
    block = m.take<char>(SampleBlock<T>::bytes(z));
    bytes = m.used();
  }
};

}  // namespace mk::MK_ISA
