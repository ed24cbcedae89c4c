// The only place that makes threads.
#pragma once
#include <atomic>
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

// Where the members of a team wait for one another.
class Barrier {
 public:
  void wait(int members);  // returns when `members` threads have called it

 private:
  std::atomic<int> arrived{0};
  std::atomic<unsigned> round{0};
};

// Calls work(context, member, members) on `members` threads at the same time, members in [1, threads]: there may be
// fewer than asked for, and one in a process that was forked after threads had been used.  Members may wait for one
// another at a Barrier, so work must not throw.
void parallel_team(int threads, void (*work)(void*, int, int), void* context);

template <class F>
void parallel_team(int threads, F&& f) {
  parallel_team(
      threads, [](void* context, int member, int members) { (*static_cast<F*>(context))(member, members); }, &f);
}

}  // namespace mk
