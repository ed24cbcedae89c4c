// What a cell is: the arithmetic of one output of one module for one sample, forward and analytic backward, generic
// over the number type.  The lanes of V are samples in forward and backward, and models in prepare and finish.
//
//   int parameters(n)   trained numbers for n inputs, in the order of the module's tensors (weights first, then gates)
//   int derived(n)      numbers that forward and backward need, made once per step from the parameters
//   int saved(n)        numbers that forward keeps for backward
//   int gradients(n)    numbers that backward adds up over the samples
//   int groups, int group(n, k)   how many tensors the parameters form, and to which of them parameter k belongs
//   int weights(n), int weight(n, k), int term(n, k)
//                       how many weights count in the sparsity error, where among the derived numbers the k-th stands,
//                       and to which term it belongs (each term counts by its maximum; 0 or 1)
//   prepare<Mode>(n, options, signs, p, d)          parameters p -> derived d
//   forward<Mode>(n, options, x, d, s) -> z         inputs x, derived d -> output z, saved s
//   backward<Dx>(n, options, x, d, s, dz, g, dx)    adds to the gradients g; writes dx if Dx
//   finish(n, p, d, g, dp)                          gradient sums g -> parameter gradients dp (dp may be g)
//
// A cell whose forward is expensive in what depends on inputs and gates alone says how many of its saved numbers, the
// first ones, these are, so that a layer makes them once for all of its outputs:
//
//   int of_inputs(n)
//   inputs<inverted>(n, options, x, d, s)           writes them; inverted: quotients of r in place of r itself, as
//                                                   backward<Dx, true> reads them
//   output(n, x, d, s) -> z                         the rest of forward
//
// `signs` is read only by the one-sided variants: per input 1 if every sample of it is negative, 0 if none is.
// Pointers never alias unless said; every array is dense in its index.
#pragma once
#include "common/math.h"

namespace mk::MK_ISA {

enum class Mode { training, evaluation };

// Whether the sign of each input is the same for all samples of a run (then it is a constant of the step).
enum class Signs { mixed, constant };

// For cells whose weights are the first of their derived numbers and count together.
struct PlainWeights {
  static constexpr int weights(int n) { return n; }
  static constexpr int weight(int, int k) { return k; }
  static constexpr int term(int, int) { return 0; }
  static constexpr int of_inputs(int) { return 0; }
};

// For cells with a single tensor of parameters besides.
struct OneGroup : PlainWeights {
  static constexpr int groups = 1;
  static constexpr int group(int, int) { return 0; }
};

template <class R>
struct CellOptions {
  R epsilon;
};

template <class V>
MK_INLINE V constant(double r) {
  return splat<V>(static_cast<Real<V>>(r));
}

// A NaN stays a NaN.
template <class V>
MK_INLINE V clamp(V v, V low, V high) {
  v = select(v < low, low, v);
  return select(v > high, high, v);
}

template <class V>
MK_INLINE V sign(V v) {
  return select(v > constant<V>(0), constant<V>(1), select(v < constant<V>(0), constant<V>(-1), v));
}

template <class V>
MK_INLINE auto is_finite(V v) {
  return abs(v) < constant<V>(__builtin_inf());
}

// a b c and a b / c.  Where a b leaves the range of numbers, which the result need not do, b c or b / c is taken first.
template <class V>
MK_INLINE V product_of(V a, V b, V c) {
  const V ab = a * b;
  const auto fits = is_finite(ab);
  const V last = select(fits, ab, b) * c;
  return select(fits, last, a * last);
}
template <class V>
MK_INLINE V quotient_of(V a, V b, V c) {
  const V ab = a * b;
  const auto fits = is_finite(ab);
  const V last = select(fits, ab, b) / c;
  return select(fits, last, a * last);
}

constexpr double pi = 3.14159265358979323846;

// What is known of the arguments of logarithms.  With Domain::normal they are taken to be normal numbers, as |x| + eps
// is for finite data and an epsilon that is one: the logarithm then needs no special cases.  A NaN still gives NaN.
enum class Domain { any, normal };

template <Domain domain, class V>
MK_INLINE V logarithm(V r) {
  if constexpr (domain == Domain::any) return log(r);
  return fma(r, constant<V>(0), log_normal(r));  // adds 0, or NaN
}

}  // namespace mk::MK_ISA
