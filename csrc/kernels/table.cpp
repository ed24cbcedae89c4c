// The table of one instruction set.
#include "kernels/table.h"

namespace mk::MK_ISA {

#define MK_FLOAT(name) &name##_float,
#define MK_DOUBLE(name) &name##_double,
#define MK_RECURRENT_FLOAT(name) &recurrent_##name##_float,
#define MK_RECURRENT_DOUBLE(name) &recurrent_##name##_double,

constexpr Kernels<float> kernels_float = {
    {MK_LAYER_KINDS(MK_FLOAT)}, {MK_RECURRENT_KINDS(MK_RECURRENT_FLOAT)}, {MK_SEQUENCE_KINDS(MK_FLOAT)},
    &attention_float,           clipped_reciprocal_forward<float>,        clipped_reciprocal_backward<float>,
    discretisation_sum<float>,  discretisation_backward<float>,           elementary<float>};

constexpr Kernels<double> kernels_double = {
    {MK_LAYER_KINDS(MK_DOUBLE)}, {MK_RECURRENT_KINDS(MK_RECURRENT_DOUBLE)}, {MK_SEQUENCE_KINDS(MK_DOUBLE)},
    &attention_double,           clipped_reciprocal_forward<double>,        clipped_reciprocal_backward<double>,
    discretisation_sum<double>,  discretisation_backward<double>,           elementary<double>};

#undef MK_FLOAT
#undef MK_DOUBLE
#undef MK_RECURRENT_FLOAT
#undef MK_RECURRENT_DOUBLE

}  // namespace mk::MK_ISA
