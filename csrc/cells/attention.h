// Attention of one query of one sample to n places of its source; lanes are samples (docs/attention.md).
//   score_s = q . k_s                                     dot; the query is scaled before
//           = sum_p v_p tanh(q_p + k_sp)                  additive (Bahdanau, Cho & Bengio 2015)
//   probability_s = exp(score_s) / sum_j exp(score_j)     over the places that take part, 0 elsewhere
//   context = sum_s probability_s value_s
// Where no place takes part, all probabilities are 0, and so are the context and every gradient.
#pragma once
#include "common/math.h"

namespace mk::MK_ISA {

struct Attention {
  // score(s) is loaded and probability(s) stored at the same place; takes(s) tells by lane whether s takes part.  The
  // largest score is taken out first, so that nothing overflows.
  template <class V, class Load, class Takes, class Store>
  static MK_INLINE void probabilities(int64_t n, const Load& load, const Takes& takes, const Store& store) {
    const V zero = splat<V>(0);
    V largest = splat<V>(-__builtin_inff()), sum = zero;
    for (int64_t s = 0; s < n; ++s) largest = select(takes(s), greater(largest, load(s)), largest);
    for (int64_t s = 0; s < n; ++s) {
      const V e = select(takes(s), exp(load(s) - largest), zero);
      sum = sum + e;
      store(s, e);
    }
    const V factor = select(sum == zero, zero, splat<V>(1) / sum);
    for (int64_t s = 0; s < n; ++s) store(s, load(s) * factor);
  }

  // From the gradients of the probabilities to those of the scores.
  template <class V, class Probability, class Load, class Store>
  static MK_INLINE void scores_backward(int64_t n, const Probability& probability, const Load& load,
                                        const Store& store) {
    V sum = splat<V>(0);
    for (int64_t s = 0; s < n; ++s) sum = fma(probability(s), load(s), sum);
    for (int64_t s = 0; s < n; ++s) store(s, probability(s) * (load(s) - sum));
  }
};

}  // namespace mk::MK_ISA
