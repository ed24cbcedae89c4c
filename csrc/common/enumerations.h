// The enumerations that Python names: of each list C++ makes an enum class, and csrc/python a dictionary of names and
// numbers.  So a name may be added anywhere, and nothing in Python knows an order.
#pragma once
#include <cstdint>

namespace mk {

#define MK_ENUMERATOR(name) name,

// Cells of the trainers, each under its name in csrc/cells; custom is compiled apart (csrc/custom).
#define MK_CELLS(cell)                                                                                               \
  cell(nau) cell(nmu) cell(real_npu) cell(nru) cell(nmru) cell(nmru_unsigned) cell(nmru_gated) cell(nru_separate)    \
      cell(npu) cell(linear) cell(relu) cell(relu6) cell(nac) cell(nac_mul) cell(nac_sigma) cell(nac_nmu) cell(nalu) \
          cell(nalu_separate) cell(nalu_nau_nmu) cell(gnalu) cell(inalu) cell(custom)
enum class Cell : int64_t { MK_CELLS(MK_ENUMERATOR) };

// Penalties of single weights; csrc/cells/penalty.h has their formulas.
#define MK_PENALTIES(penalty) \
  penalty(none) penalty(unit) penalty(ternary) penalty(signed_unit) penalty(absolute) penalty(distant)
enum class Penalty : int { MK_PENALTIES(MK_ENUMERATOR) };

#define MK_OPERATIONS(operation) \
  operation(add) operation(sub) operation(mul) operation(div) operation(reciprocal) operation(squared) operation(root)
enum class Operation : int64_t { MK_OPERATIONS(MK_ENUMERATOR) };

#define MK_OPTIMISERS(optimiser) optimiser(adam) optimiser(sgd)
enum class OptimiserKind : int64_t { MK_OPTIMISERS(MK_ENUMERATOR) };

#define MK_GENERATORS(generator) generator(hash) generator(philox)
enum class Generator : int64_t { MK_GENERATORS(MK_ENUMERATOR) };

#define MK_CRITERIA(criterion) criterion(mse) criterion(pcc) criterion(mape)
enum class Criterion : int64_t { MK_CRITERIA(MK_ENUMERATOR) };

#define MK_DISTRIBUTIONS(distribution) distribution(uniform) distribution(truncated_normal) distribution(benford)
enum class Distribution : int64_t { MK_DISTRIBUTIONS(MK_ENUMERATOR) };

#define MK_DTYPES(dtype) dtype(float32) dtype(float64)
enum class Dtype : int { MK_DTYPES(MK_ENUMERATOR) };

// The layers, each under its cell's name in csrc/cells.  nru_separate is the NRU with separate signs, nmru_unsigned
// the NMRU without sign retrieval; the paths of nalu_separate have weights of their own, those of nalu_nau_nmu are a
// NAU and an NMU.
#define MK_LAYER_KINDS(kind)                                                                                \
  kind(nau) kind(nmu) kind(real_npu) kind(npu) kind(nru) kind(nru_separate) kind(nmru) kind(nmru_unsigned)  \
      kind(nmru_gated) kind(nac) kind(nac_mul) kind(nac_sigma) kind(nac_nmu) kind(nalu) kind(nalu_separate) \
          kind(nalu_nau_nmu) kind(gnalu) kind(inalu) kind(linear)
enum class LayerKind : int { MK_LAYER_KINDS(MK_ENUMERATOR) };

// Units of two inputs and one output that run along a sequence, each under its cell's name.
#define MK_RECURRENT_KINDS(kind) kind(nac) kind(nac_mul) kind(nac_sigma) kind(nac_nmu) kind(nalu) kind(nau) kind(nmu)
enum class RecurrentKind : int { MK_RECURRENT_KINDS(MK_ENUMERATOR) };

#define MK_SEQUENCE_KINDS(kind) kind(lstm) kind(gru)
enum class SequenceKind : int { MK_SEQUENCE_KINDS(MK_ENUMERATOR) };

// What a decoder with attention adds to the input of the next step: nothing, the context, the attentional state.
#define MK_FEEDS(feed) feed(none) feed(context) feed(attentional)
enum class Feed : int { MK_FEEDS(MK_ENUMERATOR) };

// Functions of csrc/common/math.h and csrc/cells/gates.h.
#define MK_ELEMENTARY_FUNCTIONS(function)                                                                 \
  function(exp) function(log) function(log_normal) function(pow_positive) function(sinpi) function(cospi) \
      function(tanh) function(sigmoid) function(gate_sigmoid) function(gate_sigmoid_by_tanh)              \
          function(gate_tanh_by_sigmoid) function(gate_tanh)
enum class Elementary : int { MK_ELEMENTARY_FUNCTIONS(MK_ENUMERATOR) };

// Whether products of bfloat16 take two numbers at a time (common/dispatch.h).
#define MK_PAIRS(choice) choice(never) choice(always) choice(where_faster)
enum class Pairs : int { MK_PAIRS(MK_ENUMERATOR) };

#undef MK_ENUMERATOR

#define MK_COUNT(name) +1
constexpr int layer_kinds = MK_LAYER_KINDS(MK_COUNT);
constexpr int recurrent_kinds = MK_RECURRENT_KINDS(MK_COUNT);
constexpr int sequence_kinds = MK_SEQUENCE_KINDS(MK_COUNT);
#undef MK_COUNT

}  // namespace mk
