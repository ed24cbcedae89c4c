// Softmax over n logits of one sample, and cross-entropy; lanes are samples.
//   p_k = exp(l_k) / sum_j exp(l_j)        loss = -log p_target        dl_k = (p_k - [k = target]) dloss
#pragma once
#include "common/math.h"

namespace mk::MK_ISA {

struct Softmax {
  // load(k) is a logit, and after store(k, .) what was stored: the shares p stand there in the end.  Returns
  // log sum_j exp(l_j); the largest logit is taken out first, so that nothing overflows.
  template <class V, class Load, class Store>
  static MK_INLINE V forward(int64_t n, const Load& load, const Store& store) {
    V largest = load(0), sum = splat<V>(0);
    for (int64_t k = 1; k < n; ++k) largest = greater(largest, load(k));
    for (int64_t k = 0; k < n; ++k) {
      const V e = exp(load(k) - largest);
      sum = sum + e;
      store(k, e);
    }
    const V share = splat<V>(1) / sum;
    for (int64_t k = 0; k < n; ++k) store(k, load(k) * share);
    return log(sum) + largest;
  }

  // The gradient of a logit of the cross-entropy.  target: 1 in the lanes whose target is this class, else 0.
  template <class V>
  static MK_INLINE V cross_entropy_backward(V p, V target, V dloss) {
    return (p - target) * dloss;
  }
};

}  // namespace mk::MK_ISA
