#include "trainers/seq2seq/kernels.h"

namespace mk::MK_ISA {

const Seq2SeqKernels seq2seq_double = Seq2Seq<double>::kernels;

}  // namespace mk::MK_ISA
