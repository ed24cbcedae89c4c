// Sequences of LSTM and GRU: sizes, memory and what each instruction set provides.  Plain data only, as table.h.
//
// Lanes are rows of the batch.  Inside a kernel an array of n numbers per row is a *panel*: n rows of panel_rows
// numbers, so that a product is scalar weight times pack of rows and no lane is padding where the batch fills its
// panels.  Panels form blocks, blocks form groups; an item of forward is a block, an item of backward a group, which
// owns one partial sum of the weight gradients.  All of this follows from the shape alone.
//
// In small batches lanes are units instead (small_batch.h), and a team may share the steps of one sequence.
#pragma once
#include <cstdint>

#include "mathkernels.h"

namespace mk {

template <class T>
struct AttentionTensors;  // kernels/attention/shape.h

constexpr int64_t sequence_sums = 4;    // sums of products per unit, in both cells
constexpr int64_t sum_columns = 16;     // sums over rows (bias gradients) go through 16 columns, then a balanced tree
constexpr int64_t gradient_rows = 128;  // rows whose products are added up before they go into a weight gradient
constexpr int64_t most_block_panels = 4;
constexpr int64_t most_groups = 16;  // bounds the memory of partial sums
constexpr int64_t most_small_batch = gradient_rows;

// Rows of a large panel; small ones have 16. Doubles know no other: to compile both takes a tenth of a build, and what
// is trained and measured is float.
template <class T>
constexpr int large_panel = sizeof(T) == sizeof(float) ? 32 : 16;
// make(T, rows) for every size of panel of one type.
#define MK_FOR_EACH_PANEL_float(make) make(float, 16) make(float, 32)
#define MK_FOR_EACH_PANEL_double(make) make(double, 16)

struct SequenceShape {
  int64_t models, directions, steps, batch, inputs, hidden;
  bool token_ids, bfloat16;
  AttentionShape attention;      // of a decoder; no heads where there is none
  int64_t fed;                   // last columns of weight_ih, which meet what attention feeds back
  int64_t x_inputs, x_columns;   // of x: inputs without what is fed; 0 columns with token ids
  int64_t columns;               // of x and of what is fed in products
  int64_t depth_x, depth_h;      // of the reduction dimension: x and h, with bfloat16 padded by a zero to be even
  bool pairs;                    // whether products of bfloat16 read two numbers as one word
  int64_t panel_rows, panels;    // 16 or large_panel; panels that the batch takes
  int64_t block_panels, blocks;  // panels of a block share the weights while they are in the cache
  int64_t group_blocks, groups;
  int64_t chunk_steps;      // steps whose rows form one product for the weight gradients
  int64_t tile, tiles;      // units whose sums are made together
  int64_t item_directions;  // directions that an item of backward takes, one after the other
  // with a small batch
  bool small_batch;
  int64_t unit_tiles;     // tiles of 16 units
  int64_t input_steps;    // steps whose products with x are made together
  int64_t entry_steps;    // steps whose rows form one product for the weight gradients
  bool packs_h, packs_x;  // whether the weights are laid out once, or anew where they are read
};

// What a member of a team knows of its work: the sequence (in backward of item_directions directions) and memory.
struct SequenceMember {
  int64_t sequence;
  int number, members;
  void *shared, *own;
  void* barrier;
  void (*wait)(void* barrier, int members);  // returns when all have called it
};

// Addresses of whole tensors, null where absent; see mathkernels.h.
template <class T>
struct SequenceTensors {
  const T* x;
  const int64_t* token_ids;
  const T *weight_ih, *weight_hh, *bias_ih, *bias_hh, *h0, *c0;
  const int64_t* lengths;
  T *y, *hn, *cn, *gates, *cells;
  const T *dy, *dhn, *dcn, *dcells, *saved_y, *saved_gates, *saved_cells;
  T *dx, *dweight_ih, *dweight_hh, *dbias_ih, *dbias_hh, *dh0, *dc0;
  // the caller's scratch
  const AttentionTensors<T>* attention;
  T* packed;                  // weights as the products read them: (E,D,packed numbers)
  T* partial;                 // (items, directions of an item, partial numbers) of some items of backward:
  int64_t first_item, items;  // which ones,
  int64_t first_sequence;     // and the first (model, direction) that they belong to
};

template <class T>
using SequenceItem = void(const SequenceShape&, const SequenceTensors<T>&, int64_t item, void* scratch);
template <class T>
using SequenceTeam = void(const SequenceShape&, const SequenceTensors<T>&, const SequenceMember&);
struct SequenceMemory {
  int64_t shared, own;  // bytes that a team and each of its members need
};

// Items, the last varies fastest: pack takes a (model, direction, piece) each, forward a (model, direction, block),
// backward a (model, first of item_directions, group), finish as pack from first_sequence on.  Sizes are the same
// on every machine, those of packed weights and partial sums in numbers of type T, multiples of 16, the others in
// bytes.
template <class T>
struct SequenceKernels {
  SequenceItem<T>*pack_forward, *forward, *pack_backward, *backward, *finish;
  int64_t (*packed_forward)(const SequenceShape&);  // of a model and direction
  int64_t (*packed_backward)(const SequenceShape&);
  int64_t (*packed_attention)(const SequenceShape&);  // of a model
  int64_t (*partial)(const SequenceShape&);           // of a group
  int64_t (*forward_scratch)(const SequenceShape&);   // of a thread, bytes
  int64_t (*backward_scratch)(const SequenceShape&);
  SequenceTeam<T>*small_batch_forward, *small_batch_backward;
  SequenceMemory (*small_batch_forward_memory)(const SequenceShape&);
  SequenceMemory (*small_batch_backward_memory)(const SequenceShape&);
};

constexpr int64_t pack_pieces = 8;  // pieces that a model's weights are packed, and its gradients finished, in

#ifdef MK_ISA
namespace MK_ISA {
extern const SequenceKernels<float> lstm_float, gru_float;
extern const SequenceKernels<double> lstm_double, gru_double;
}  // namespace MK_ISA
#endif

}  // namespace mk
