#include "trainers/seq2seq/kernels.h"

namespace mk::MK_ISA {

const Seq2SeqKernels seq2seq_float = Seq2Seq<float>::kernels;

}  // namespace mk::MK_ISA
