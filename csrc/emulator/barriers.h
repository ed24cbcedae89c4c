// Barriers beyond a warp, flags in memory, and the shared memory of a cluster.  Included by emulator.h.
#pragma once

namespace mk::emulator {

// Barrier `id` of the block, for `count` threads or, by default, all of them.  A thread that does not wait arrives.
void block_barrier(int id, int count, bool waits, Site site);
// As block_barrier for all threads; returns in how many of them the predicate holds.
int block_count(bool predicate, Site site);
void grid_barrier(Site site);

// What a thread has written before an arrival is seen after the wait, unless the arrival is relaxed.
void cluster_arrive(Site site = Site::here());
void cluster_arrive_relaxed(Site site = Site::here());
void cluster_wait(Site site = Site::here());
unsigned cluster_rank();
unsigned cluster_size();
unsigned cluster_index();
unsigned cluster_count();
// Where in another block's shared memory an address of the own one lies.
void* map_shared(const void* address, unsigned rank, Site site);

// Waits until a flag is `target` or, taken round the end of its numbers, beyond.
void wait_at_least(const unsigned* flag, unsigned target, Site site = Site::here());

// By the names of csrc/cuda/sync.h.
inline void named_barrier(int id, int threads, Site site = Site::here()) { block_barrier(id, threads, true, site); }
inline void named_arrive(int id, int threads, Site site = Site::here()) { block_barrier(id, threads, false, site); }
template <class T>
inline T load_from_l2(const T* address) {
  return *address;
}

}  // namespace mk::emulator

inline void __syncthreads(mk::emulator::Site site = mk::emulator::Site::here()) {
  mk::emulator::block_barrier(0, 0, true, site);
}
inline int __syncthreads_count(bool predicate, mk::emulator::Site site = mk::emulator::Site::here()) {
  return mk::emulator::block_count(predicate, site);
}
inline int __syncthreads_or(bool predicate, mk::emulator::Site site = mk::emulator::Site::here()) {
  return mk::emulator::block_count(predicate, site) != 0;
}
inline int __syncthreads_and(bool predicate, mk::emulator::Site site = mk::emulator::Site::here()) {
  return mk::emulator::block_count(predicate, site) == static_cast<int>(blockDim.x);
}

// Fences order what memory shows.  The emulator's memory is always in order, and its thread sanitizer knows barriers,
// and releases and acquires of atomics alone: kernels use those.
inline void __threadfence() {}
inline void __threadfence_block() {}

namespace cooperative_groups {

struct grid_group {
  void sync(mk::emulator::Site site = mk::emulator::Site::here()) const { mk::emulator::grid_barrier(site); }
  unsigned long long size() const { return static_cast<unsigned long long>(gridDim.x) * blockDim.x; }
  unsigned long long thread_rank() const {
    return static_cast<unsigned long long>(blockIdx.x) * blockDim.x + threadIdx.x;
  }
};

struct thread_block {
  void sync(mk::emulator::Site site = mk::emulator::Site::here()) const {
    mk::emulator::block_barrier(0, 0, true, site);
  }
  unsigned size() const { return blockDim.x; }
  unsigned thread_rank() const { return threadIdx.x; }
};

struct cluster_group {
  struct arrival_token {};
  void sync(mk::emulator::Site site = mk::emulator::Site::here()) const {
    mk::emulator::cluster_arrive(site);
    mk::emulator::cluster_wait(site);
  }
  arrival_token barrier_arrive(mk::emulator::Site site = mk::emulator::Site::here()) const {
    mk::emulator::cluster_arrive(site);
    return {};
  }
  void barrier_wait(arrival_token&& = {}, mk::emulator::Site site = mk::emulator::Site::here()) const {
    mk::emulator::cluster_wait(site);
  }
  unsigned block_rank() const { return mk::emulator::cluster_rank(); }
  unsigned num_blocks() const { return mk::emulator::cluster_size(); }
  template <class T>
  T* map_shared_rank(T* address, unsigned rank, mk::emulator::Site site = mk::emulator::Site::here()) const {
    return static_cast<T*>(mk::emulator::map_shared(address, rank, site));
  }
};

inline grid_group this_grid() { return {}; }
inline thread_block this_thread_block() { return {}; }
inline cluster_group this_cluster() { return {}; }

}  // namespace cooperative_groups
