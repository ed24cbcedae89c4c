#include "cells/nmru.h"

#include "cells/nmru_gated.h"
#include "kernels/layers/layer_loop.h"

namespace mk::MK_ISA {

MK_LAYER(nmru, true, 0, Nmru<true, Signs::mixed>)
MK_LAYER(nmru_unsigned, true, 0, Nmru<false, Signs::mixed>)
MK_LAYER(nmru_gated, true, 2, NmruGated)

}  // namespace mk::MK_ISA
