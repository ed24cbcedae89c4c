// A training program: runs that differ only in seed, ranges and offsets, from one iteration to another.
//
// Models come in tiles of up to 16: arrays "per model" are [tiles][16] or [tiles][row][16], and what lies beyond the
// last model of a tile is ignored but must be finite.  R is the program's real type, float or double.  The caller owns
// all memory; nothing aliases.  mathkernels/ensemble/program.py fills this structure.
#pragma once
#include <cstdint>

#include "common/enumerations.h"

namespace mk {

constexpr int tile_models = 16;
constexpr int max_inputs = 512, max_hidden = 16;
constexpr int shape_numbers = 23, avoid_count = 3;
// Counts the changes of CellOps (cell_ops.h) and of what its functions mean, for cells that are compiled apart.
constexpr int cell_interface = 1;
constexpr int row_columns = 5;  // validation MSE, test MSE, sparsity error, training loss, penalty

// What the parameters of one tensor share; Core::group says to which of them a parameter belongs.
struct Group {
  int64_t penalty;  // Penalty
  int64_t clamped;
  double low, high;
  double below;  // the penalty counts while a model's last validation error is below this; 0: always
};
constexpr int max_groups = 12;
constexpr int sparsity_terms = 2;

struct Program {
  int64_t dtype;           // 0 float, 1 double
  int64_t cell;            // Cell
  int64_t hidden;          // 0: one layer.  H: H units of `cell` on the inputs, then one unit of `second` on these
  int64_t second;          // Cell
  int64_t constant_signs;  // 1: every input of every run keeps its sign (real_npu, nmru)
  int64_t inputs;          // I
  int64_t parameters;      // P: those of each unit of the first layer, then those of the second
  int64_t batch;           // a multiple of 32
  int64_t operation;       // Operation
  int64_t generator;       // Generator
  int64_t distribution;    // Distribution
  int64_t criterion;       // Criterion
  int64_t tiles;
  int64_t first, last;     // iterations [first, last)
  int64_t evaluate_every;  // a row is written before the update of every iteration that this divides
  int64_t row_capacity;

  int64_t optimiser;                            // OptimiserKind
  double decay1, beta2, decay2, eps, momentum;  // decay = 1 - beta
  int64_t norm_order;                           // of the norm penalty of every group; 0: none
  double clip_norm;                             // 0: none
  int64_t wide_norm;                            // 1: the norm that clip_norm limits does not overflow
  double clip_value;                            // of every entry of the gradient; 0: none
  double epsilon, second_epsilon;               // of the two layers
  const void *custom, *second_custom;           // CellOps<R> of the layers whose cell is Cell::custom
  int64_t groups;                               // those of the first layer, then those of the second
  Group group[max_groups];

  // per iteration, [last - first] of R
  const void* step;        // Adam: lr / (1 - beta1^(t+1));  SGD: lr
  const void* correction;  // Adam: 1 / sqrt(1 - beta2^(t+1))
  const void* penalty;     // [groups][last - first]: coefficient of one parameter's penalty, lambda ramp(t) / count
  const void* norm;        // beta(t)

  // per tile
  const int32_t* models;         // [tiles] how many models the tile holds
  const int32_t* slots;          // [tiles] how many distinct streams it draws
  const int32_t* slot;           // [tiles][16] the stream of each model
  const uint64_t* slot_seed;     // [tiles][16]
  const uint32_t* slot_anchor;   // [tiles][16][I] see random.h
  const double* slot_shape;      // [tiles][16][I][shape_numbers], see draw.h; not read for uniform numbers
  const void* slot_avoid;        // [tiles][16][I][avoid_count] of R, see draw.h; null: nothing is avoided
  const void* scale;             // [tiles][I][16] of R
  const void* offset;            // [tiles][I][16] of R
  const void* negative;          // [tiles][I][16] of R, 1 or 0; read with constant_signs
  const int32_t* subset;         // [tiles][16][4] first and size of a's inputs, first and size of b's
  const void* least;             // [tiles][16] of R: what stands for 0 where a target is divided by a sum, or divides
  const uint64_t* valid_inputs;  // [tiles][16] addresses of R [I][valid_count]
  const uint64_t* valid_target;  // [tiles][16] addresses of R [valid_count]
  const uint64_t* test_inputs;
  const uint64_t* test_target;
  int64_t valid_count, test_count;

  // restarts, see restart.h
  int64_t restart_window;  // 0: none
  int64_t restart_every;
  double restart_above;
  int64_t restart_capacity;       // how many are possible
  const void* restart_parameter;  // [tiles][restart_capacity][P][16] of R: what each starts from

  // state and results
  void* parameter;      // [tiles][P][16] of R
  void* first_moment;   // [tiles][P][16] of R
  void* second_moment;  // [tiles][P][16] of R
  void* best;           // [tiles][P][16] of R: the parameters at the row of lowest validation MSE
  double* best_valid;   // [tiles][16], start with inf
  int32_t* best_row;    // [tiles][16], start with -1
  double* rows;         // [tiles][16][row_capacity][row_columns]
  int32_t* restarts;    // [tiles][16] how many so far, start with 0
  int32_t* window_row;  // [tiles][16] the first row since the start or the last restart, start with 0
};

// Trains one tile; `scratch` belongs to the calling worker.
using TrainTile = void(const Program&, int64_t tile, void* scratch);

// What an instruction set offers.  A worker needs `scratch` bytes, 64-byte aligned, which do not depend on the set.
struct EnsembleKernels {
  TrainTile* (*train)(const Program&);
  int64_t (*scratch)(const Program&);
  int64_t cell_bytes, vector_bytes;  // of CellOps and of a pack: cells that are compiled apart must have the same
};

#ifdef MK_ISA
namespace MK_ISA {
// The loop of one cell for a program, or nullptr if there is none.
TrainTile* train_nau(const Program&);
TrainTile* train_nmu(const Program&);
TrainTile* train_real_npu(const Program&);
TrainTile* train_nru(const Program&);
TrainTile* train_nmru(const Program&);
TrainTile* train_npu(const Program&);
// The loop for any cells, one or two layers; nullptr if the program names a cell that does not exist.
TrainTile* train_any(const Program&);
int64_t any_scratch_bytes(const Program&);

extern const EnsembleKernels ensemble_kernels;
}  // namespace MK_ISA
#endif

}  // namespace mk
