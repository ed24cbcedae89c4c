// What one instruction set provides: its tables of kernels and trainers, for common/dispatch.h.
#include "common/dispatch.h"
#include "kernels/table.h"
#include "trainers/nalm/program.h"
#include "trainers/seq2seq/program.h"

namespace mk::MK_ISA {

#if defined(__AVX512F__)
constexpr bool pairs_by_instruction = true;
#else
constexpr bool pairs_by_instruction = false;
#endif

extern const InstructionSet instruction_set;
const InstructionSet instruction_set = {
    &kernels_float, &kernels_double, &ensemble_kernels, {&seq2seq_float, &seq2seq_double}, pairs_by_instruction};

}  // namespace mk::MK_ISA
