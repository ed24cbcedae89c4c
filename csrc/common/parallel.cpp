#include "common/parallel.h"

#include <omp.h>
#include <pthread.h>

#include <atomic>

namespace mk {
namespace {

// OpenMP's team does not survive fork(): a parallel region in the child would wait for threads that do not exist.
std::atomic<bool> forked{false};
const int registered = pthread_atfork(nullptr, nullptr, [] { forked.store(true); });

}  // namespace

void parallel_for(int64_t items, int threads, void (*work)(void*, int, int64_t), void* context) {
  (void)registered;
  if (threads > items) threads = static_cast<int>(items);
  if (threads <= 1 || forked.load(std::memory_order_relaxed)) {
    for (int64_t item = 0; item < items; ++item) work(context, 0, item);
    return;
  }
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
  for (int64_t item = 0; item < items; ++item) work(context, omp_get_thread_num(), item);
}

}  // namespace mk
