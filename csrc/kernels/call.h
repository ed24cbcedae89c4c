// What the interfaces of layers and of sequences share.
#pragma once
#include "common/dispatch.h"
#include "kernels/table.h"

namespace mk {

// Calls f with a zero of the type that `dtype` names.
template <class F>
auto with_type(Dtype dtype, F&& f) {
  return dtype == Dtype::float32 ? f(float{}) : f(double{});
}

}  // namespace mk
