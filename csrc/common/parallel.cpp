#include "common/parallel.h"

#include <pthread.h>
#include <sched.h>

#include <atomic>

#ifdef MK_PLAIN_THREADS  // for ThreadSanitizer, which takes what OpenMP's library does between threads for races
#include <thread>
#include <vector>
#else
#include <omp.h>
#endif

namespace mk {
namespace {

// OpenMP's team does not survive fork(): a parallel region in the child would wait for threads that do not exist.
std::atomic<bool> forked{false};
const int registered = pthread_atfork(nullptr, nullptr, [] { forked.store(true); });

// A phase of work is some tens of microseconds long and its ends lie close together: a waiting thread spins for about
// as long, and then lets others have the processor.
constexpr int spins = 2000;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

#ifdef MK_PLAIN_THREADS
template <class F>
void on_threads(int threads, F f) {
  std::vector<std::thread> others;
  for (int member = 1; member < threads; ++member) others.emplace_back(f, member);
  f(0);
  for (std::thread& other : others) other.join();
}
#endif

}  // namespace

void parallel_for(int64_t items, int threads, void (*work)(void*, int, int64_t), void* context) {
  (void)registered;
  if (threads > items) threads = static_cast<int>(items);
  if (threads <= 1 || forked.load(std::memory_order_relaxed)) {
    for (int64_t item = 0; item < items; ++item) work(context, 0, item);
    return;
  }
#ifdef MK_PLAIN_THREADS
  std::atomic<int64_t> next{0};
  on_threads(threads, [&](int member) {
    for (int64_t item = next.fetch_add(1); item < items; item = next.fetch_add(1)) work(context, member, item);
  });
#else
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
  for (int64_t item = 0; item < items; ++item) work(context, omp_get_thread_num(), item);
#endif
}

void Barrier::wait(int members) {
  if (members == 1) return;
  const unsigned now = round.load(std::memory_order_relaxed);
  if (arrived.fetch_add(1, std::memory_order_acq_rel) == members - 1) {
    arrived.store(0, std::memory_order_relaxed);
    round.store(now + 1, std::memory_order_release);
    return;
  }
  for (int spin = 0; round.load(std::memory_order_acquire) == now; ++spin) {
    if (spin < spins)
      pause();
    else
      sched_yield();
  }
}

void parallel_team(int threads, void (*work)(void*, int, int), void* context) {
  if (threads <= 1 || forked.load(std::memory_order_relaxed)) return work(context, 0, 1);
#ifdef MK_PLAIN_THREADS
  on_threads(threads, [&](int member) { work(context, member, threads); });
#else
#pragma omp parallel num_threads(threads)
  work(context, omp_get_thread_num(), omp_get_num_threads());
#endif
}

}  // namespace mk
