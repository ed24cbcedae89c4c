// y = 1/x where |x| >= bound = 1/limit, else limit with the sign of x; NaN stays NaN.
#include "common/lanes.h"
#include "kernels/table.h"

namespace mk::MK_ISA {
namespace {

template <class V>
MK_INLINE V reciprocal(V x, V limit, V bound) {
  const V clipped = select(x < splat<V>(0), -limit, limit);
  return select(abs(x) < bound, clipped, splat<V>(1) / x);
}

template <class V>
MK_INLINE V reciprocal_slope(V dy, V x, V bound) {
  const V inverse = splat<V>(1) / x;
  return select(abs(x) < bound, splat<V>(0), -(dy * inverse * inverse));
}

}  // namespace

template <class T>
void clipped_reciprocal_forward(int64_t count, T limit, T bound, const T* x, T* y) {
  using V = Pack<T>;
  constexpr int width = Number<V>::width;
  int64_t k = 0;
  for (; k + width <= count; k += width) reciprocal(V::load(x + k), splat<V>(limit), splat<V>(bound)).store(y + k);
  for (; k < count; ++k) y[k] = reciprocal(x[k], limit, bound);
}

template <class T>
void clipped_reciprocal_backward(int64_t count, T bound, const T* dy, const T* x, T* dx) {
  using V = Pack<T>;
  constexpr int width = Number<V>::width;
  int64_t k = 0;
  for (; k + width <= count; k += width)
    reciprocal_slope(V::load(dy + k), V::load(x + k), splat<V>(bound)).store(dx + k);
  for (; k < count; ++k) dx[k] = reciprocal_slope(dy[k], x[k], bound);
}

template void clipped_reciprocal_forward(int64_t, float, float, const float*, float*);
template void clipped_reciprocal_forward(int64_t, double, double, const double*, double*);
template void clipped_reciprocal_backward(int64_t, float, const float*, const float*, float*);
template void clipped_reciprocal_backward(int64_t, double, const double*, const double*, double*);

}  // namespace mk::MK_ISA
