// A training program: runs that differ only in seed, ranges and offsets, from one iteration to another.
//
// Models come in tiles of up to 16: arrays "per model" are [tiles][16] or [tiles][row][16], and what stands behind the
// last model of a tile is ignored but must be finite.  R is the program's real type, float or double.  The caller owns
// all memory; nothing aliases.  mathkernels/ensemble/program.py fills this structure.
#pragma once
#include <cstdint>

namespace mk {

constexpr int tile_models = 16;
constexpr int max_inputs = 128;
constexpr int row_columns = 5;  // validation MSE, test MSE, sparsity error, training loss, penalty

enum class Cell : int64_t { nau, nmu, real_npu, nru, nmru, nmru_unsigned };
enum class Operation : int64_t { add, sub, mul, div, reciprocal, squared, root };
enum class OptimiserKind : int64_t { adam, sgd };
enum class Generator : int64_t { hash, philox };

struct Program {
  int64_t dtype;           // 0 float, 1 double
  int64_t cell;            // Cell
  int64_t constant_signs;  // 1: every input of every run keeps its sign (real_npu, nmru)
  int64_t inputs;          // I
  int64_t weights;         // parameters per model that are weights; the rest, up to `parameters`, are gates
  int64_t parameters;      // P
  int64_t batch;           // a multiple of 32
  int64_t operation;       // Operation
  int64_t generator;       // Generator
  int64_t tiles;
  int64_t first, last;     // iterations [first, last)
  int64_t evaluate_every;  // a row is written before the update of every iteration that this divides
  int64_t row_capacity;

  int64_t optimiser;                            // OptimiserKind
  double decay1, beta2, decay2, eps, momentum;  // decay = 1 - beta
  int64_t weight_penalty_kind, gate_penalty_kind, norm_order;
  int64_t clamp_weights, clamp_gates;
  double weight_low, weight_high;  // gates are clamped to [0, 1]
  double clip_norm;                // 0: none
  double epsilon;

  // per iteration, [last - first] of R
  const void* step;            // Adam: lr / (1 - beta1^(t+1));  SGD: lr
  const void* correction;      // Adam: 1 / sqrt(1 - beta2^(t+1))
  const void* weight_penalty;  // coefficient of one weight's penalty: lambda ramp(t) / weights
  const void* gate_penalty;    // of one gate's
  const void* norm;            // beta(t)

  // per tile
  const int32_t* models;         // [tiles] how many models the tile holds
  const int32_t* slots;          // [tiles] how many distinct streams it draws
  const int32_t* slot;           // [tiles][16] the stream of each model
  const uint64_t* slot_seed;     // [tiles][16]
  const uint32_t* slot_anchor;   // [tiles][16][I] see random.h
  const void* scale;             // [tiles][I][16] of R
  const void* offset;            // [tiles][I][16] of R
  const void* negative;          // [tiles][I][16] of R, 1 or 0; read with constant_signs
  const int32_t* subset;         // [tiles][16][4] first and size of a's inputs, first and size of b's
  const uint64_t* valid_inputs;  // [tiles][16] addresses of R [I][valid_count]
  const uint64_t* valid_target;  // [tiles][16] addresses of R [valid_count]
  const uint64_t* test_inputs;
  const uint64_t* test_target;
  int64_t valid_count, test_count;

  // state and results
  void* parameter;      // [tiles][P][16] of R
  void* first_moment;   // [tiles][P][16] of R
  void* second_moment;  // [tiles][P][16] of R
  void* best;           // [tiles][P][16] of R: the parameters at the row of lowest validation MSE
  double* best_valid;   // [tiles][16], start with inf
  int32_t* best_row;    // [tiles][16], start with -1
  double* rows;         // [tiles][16][row_capacity][row_columns]
};

// Memory a worker needs, in bytes, 64-byte aligned.
inline int64_t program_scratch_bytes(const Program& p) {
  const int64_t real = p.dtype == 0 ? 4 : 8;
  return real * p.batch * (p.inputs * tile_models + p.inputs + 1) + 64;
}

// Trains one tile; `scratch` belongs to the calling worker.
using TrainTile = void(const Program&, int64_t tile, void* scratch);

#ifdef MK_ISA
namespace MK_ISA {
// The loop for a program, or nullptr if its fields are out of range.
TrainTile* train_nau(const Program&);
TrainTile* train_nmu(const Program&);
TrainTile* train_real_npu(const Program&);
TrainTile* train_nru(const Program&);
TrainTile* train_nmru(const Program&);
}  // namespace MK_ISA
#endif

// What an instruction set offers.
struct EnsembleKernels {
  TrainTile* (*train)(const Program&);
};
const EnsembleKernels& ensemble_kernels();  // of the instruction set in use

}  // namespace mk
