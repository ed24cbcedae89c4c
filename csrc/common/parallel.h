// The only place that makes threads.
#pragma once
#include <cstdint>

namespace mk {

// Calls work(context, worker, item) for every item in [0, items), worker in [0, threads).  Items are handed out as
// threads become free: results must not depend on which thread, or which order, an item gets.  In a process that was
// forked after threads had been used (a DataLoader's worker, say) everything runs on the calling thread.
void parallel_for(int64_t items, int threads, void (*work)(void*, int, int64_t), void* context);

template <class F>
void parallel_for(int64_t items, int threads, F&& f) {
  parallel_for(
      items, threads, [](void* context, int worker, int64_t item) { (*static_cast<F*>(context))(worker, item); }, &f);
}

}  // namespace mk
