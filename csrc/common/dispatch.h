// The one table of instruction sets: what the kernels of each provide.  A call reads it once and takes everything from
// what it read, because another thread may force a different set meanwhile.
#pragma once
#include "common/enumerations.h"

namespace mk {

template <class T>
struct Kernels;          // kernels/table.h
struct EnsembleKernels;  // trainers/nalm/program.h
struct Seq2SeqKernels;   // trainers/seq2seq/program.h

// Plain data, written by csrc/instruction_set.cpp, which is compiled once per instruction set.
struct InstructionSet {
  const Kernels<float>* of_float;
  const Kernels<double>* of_double;
  const EnsembleKernels* ensemble;
  const Seq2SeqKernels* seq2seq[2];  // of float and of double
  bool pairs_by_instruction;         // products of bfloat16 take pairs by vdpbf16ps, not in plain operations
};

// The set in use (common/isa.h).
const InstructionSet& instruction_set();

template <class T>
const Kernels<T>& kernels(const InstructionSet& set) {
  if constexpr (sizeof(T) == sizeof(float))
    return *set.of_float;
  else
    return *set.of_double;
}

// Whether products of bfloat16 take two numbers at a time, by vdpbf16ps where a set has it and in plain operations
// elsewhere.  Bits are the same either way.  By default the processor decides, which must have the instruction and not
// be slower with it than with fused multiply-adds of floats.
bool bfloat16_pairs(const InstructionSet& set);
bool bfloat16_pairs_set(Pairs which);  // false if the processor lacks the instruction that the set in use needs

}  // namespace mk
