// Trains E character sequence-to-sequence models: token ids -> bidirectional LSTM, its last states -> batch norm ->
// the same input at every output step -> bidirectional LSTM -> batch norm -> linear -> softmax cross-entropy -> Adam.
// docs/seq2seq.md has the equations; mathkernels/ensemble/seq2seq.py fills this structure.
//
// R is the program's real type, float or double.  The caller owns all memory, aligned to 64 bytes; nothing aliases.
#pragma once
#include <cstdint>

namespace mk {

// A minibatch is cut into blocks of this many samples, and sums over samples are made block by block: results depend on
// this number and on nothing else of how the work is divided.
constexpr int64_t block_samples = 64;

struct Seq2SeqProgram {
  int64_t dtype;  // 0 float, 1 double
  int64_t models, alphabet, steps_in, steps_out, hidden;
  int64_t batch_norm;           // 0 or 1
  int64_t batch;                // samples of a minibatch; the last one may be smaller
  int64_t samples;              // training: length of each model's order; evaluation: of the inputs
  int64_t first, last;          // training: minibatches [first, last) of the epoch
  double decay1, decay2, eps;   // Adam; decay = 1 - beta
  double norm_eps, norm_decay;  // batch norm; decay = 1 - momentum

  const int8_t* inputs;   // [.][steps_in], -1 is a row of zeros
  const int8_t* targets;  // [.][steps_out]; evaluation: may be null
  const int64_t* order;   // training: [models][samples], rows of inputs and targets
  const void* step;       // training: [last - first] of R: lr sqrt(1 - beta2^t) / (1 - beta1^t)
  void* parameter;        // [models][count] of R, laid out as seq2seq_offsets says
  void* first_moment;     // the same
  void* second_moment;    // the same
  void* running;          // [models][2][2][row of features] of R: mean and variance of the two norms
  double* loss;           // training: [models], the loss times the samples is added
  int8_t* predicted;      // evaluation: [models][samples][steps_out], or null
  double* score;          // evaluation: [models][blocks of samples][3]: loss, right characters, right sequences
};

// Where a tensor begins in a model's parameters, and how far its rows are apart.  Matrices are stored by input:
// [inputs][row], with the four gates of a unit side by side (i, f, g, o of unit 0, then of unit 1, ...).
struct Seq2SeqOffsets {
  struct Layer {
    int64_t input, recurrent, bias;
  };
  Layer encoder[2], decoder[2];  // by direction
  struct Norm {
    int64_t gamma, beta;
  } norm[2];
  int64_t output, output_bias, count;
  int64_t gate_row, feature_row, output_row;
};

// One minibatch of one model.  Phases follow one another; the items of a phase are independent.
struct Seq2SeqStep {
  int64_t model, begin, valid;  // samples [begin, begin + valid) of the order
  void* memory;                 // of the team that trains the model
};
enum Seq2SeqPhase { pack_weights, encode, decode, output, decode_back, encode_back, update, seq2seq_phases };

// What an instruction set offers for a real type.
struct Seq2SeqKernels {
  void (*offsets)(const Seq2SeqProgram&, Seq2SeqOffsets&);
  int64_t (*memory)(const Seq2SeqProgram&);   // bytes of a team in training; a multiple of 64
  int64_t (*scratch)(const Seq2SeqProgram&);  // bytes of a thread, training and evaluation; a multiple of 64
  int64_t (*items)(const Seq2SeqProgram&, int phase, int64_t valid);
  void (*phase[seq2seq_phases])(const Seq2SeqProgram&, const Seq2SeqStep&, int64_t item, void* scratch);
  void (*evaluate)(const Seq2SeqProgram&, int64_t model, int64_t block, const void* packed, void* scratch);
};

#ifdef MK_ISA
namespace MK_ISA {
extern const Seq2SeqKernels seq2seq_float, seq2seq_double;
}  // namespace MK_ISA
#endif

void seq2seq_offsets(const Seq2SeqProgram&, Seq2SeqOffsets&);
int64_t seq2seq_train_bytes(const Seq2SeqProgram&, int threads);
int64_t seq2seq_evaluate_bytes(const Seq2SeqProgram&, int threads);
void seq2seq_train(const Seq2SeqProgram&, int threads, void* memory);
void seq2seq_evaluate(const Seq2SeqProgram&, int threads, void* memory);

}  // namespace mk
