// The table of one instruction set.
#include "kernels/table.h"

namespace mk::MK_ISA {

constexpr Kernels<float> kernels_float = {
    {&nau_float, &nmu_float, &real_npu_float, &nru_float, &nmru_float, &nmru_unsigned_float},
    clipped_reciprocal_forward<float>,
    clipped_reciprocal_backward<float>,
    discretisation_sum<float>,
    discretisation_backward<float>,
    elementary<float>};

constexpr Kernels<double> kernels_double = {
    {&nau_double, &nmu_double, &real_npu_double, &nru_double, &nmru_double, &nmru_unsigned_double},
    clipped_reciprocal_forward<double>,
    clipped_reciprocal_backward<double>,
    discretisation_sum<double>,
    discretisation_backward<double>,
    elementary<double>};

}  // namespace mk::MK_ISA
