// Sums of panels, added in their order, for gradients of weights that all rows share.
#pragma once
#include <cstdint>

namespace mk {

// out (models, count) from (models, panels, count).
template <class T>
void add_panels(int64_t models, int64_t panels, int64_t count, const T* of_panels, T* out) {
  for (int64_t model = 0; model < models; ++model)
    for (int64_t k = 0; k < count; ++k) {
      T sum = 0;
      for (int64_t panel = 0; panel < panels; ++panel) sum += of_panels[(model * panels + panel) * count + k];
      out[model * count + k] = sum;
    }
}

}  // namespace mk
