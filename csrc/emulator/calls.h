// What kernels call, by the state of the launch.  A part of emulator.cpp.
#pragma once

int current_lane() { return static_cast<int>(running->thread % warp_lanes); }

void* dynamic_shared() { return running->warp->block->dynamic; }

void fail(Site site, const char* what) {
  set_problem("block %u, thread %u: %s (%s:%d)", running->warp->block->index, running->thread, what, name_of(site.file),
              site.line);
  stop();
}

void interleave() {
  if (current.order > 1 && random_number() % 2 == 0) running->fiber->leave(false);
}

void meet(unsigned mask, const char* what, int detail, Together* together, void* argument, Site site) {
  Lane& lane = *running;
  lane.mask = mask | 1u << current_lane();  // a lane that is not in its own mask never finds the others waiting for it
  lane.what = what;
  lane.detail = detail;
  lane.together = together;
  lane.argument = argument;
  wait_here(site);
}

void meet_in_order(unsigned mask, const char* what, Site site) {
  Warp& warp = *running->warp;
  const unsigned phase = running->meetings++ & 1;
  release(&warp.order[phase]);
  meet(mask, what, 0, nullptr, nullptr, site);
  acquire(&warp.order[phase]);
}

uint64_t exchange(unsigned mask, int kind, int source, uint64_t bits, Site site) {
  struct Brought {
    uint64_t bits, found;
    int source;
  } own{bits, ~uint64_t{0}, source};
  meet(
      mask, "a shuffle", kind,
      [](void* const(&arguments)[32], unsigned) {
        for (void* argument : arguments)
          if (auto* taker = static_cast<Brought*>(argument)) {
            const bool there = taker->source >= 0 && taker->source < warp_lanes;
            if (auto* giver = there ? static_cast<Brought*>(arguments[taker->source]) : nullptr)
              taker->found = giver->bits;
          }
      },
      &own, site);
  return own.found;
}

unsigned ballot(unsigned mask, const char* what, bool predicate, Site site) {
  struct Vote {
    bool predicate;
    unsigned all;
  } own{predicate, 0};
  meet(
      mask, what, 0,
      [](void* const(&arguments)[32], unsigned) {
        unsigned all = 0;
        for (int l = 0; l < warp_lanes; ++l)
          if (auto* vote = static_cast<Vote*>(arguments[l])) all |= unsigned{vote->predicate} << l;
        for (void* argument : arguments)
          if (argument != nullptr) static_cast<Vote*>(argument)->all = all;
      },
      &own, site);
  return own.all;
}

void block_barrier(int id, int count, bool waits, Site site) {
  if (id < 0 || id >= named_barriers) fail(site, "a block has barriers 0 to 15");
  if (count % warp_lanes != 0 || count < 0 || count > current.block_threads)
    fail(site, "a barrier takes whole warps of the block");
  Barrier& barrier = running->warp->block->barrier[id];
  const auto expected = static_cast<unsigned>(count == 0 ? current.block_threads : count);
  if (barrier.arrived > 0 && barrier.expected != expected) fail(site, "threads name two counts for a barrier");
  for (const Lane& other : running->warp->lane)
    if (other.state == State::waiting && other.barrier == &barrier && other.site.line != site.line)
      fail(site, "lanes of a warp arrive at a barrier from different lines");
  barrier.expected = expected;
  running->named = id;
  const unsigned phase = barrier.phase;
  if (barrier.arrive()) wake(barrier);
  if (waits) wait_for_phase(barrier, phase, site);
}

int block_count(bool predicate, Site site) {
  Barrier& barrier = running->warp->block->barrier[0];
  const unsigned phase = barrier.phase;
  barrier.votes += predicate;
  block_barrier(0, 0, true, site);
  return barrier.result[phase & 1];
}

void grid_barrier(Site site) {
  if (!current.cooperative) fail(site, "a barrier of the grid in a launch that is not cooperative");
  const unsigned phase = grid.phase;
  running->named = -1;
  if (grid.arrive()) wake(grid);
  wait_for_phase(grid, phase, site);
}

void arrive_at_cluster(bool publishes, Site site) {
  Cluster* cluster = running->warp->block->cluster;
  if (cluster == nullptr) fail(site, "a barrier of the cluster in a launch without clusters");
  if (running->has_arrived) fail(site, "arrives twice at the cluster's barrier without waiting");
  running->has_arrived = true;
  running->arrival = cluster->barrier.phase;
  running->named = -1;
  if (cluster->barrier.arrive(publishes)) wake(cluster->barrier);
}

void cluster_arrive(Site site) { arrive_at_cluster(true, site); }
void cluster_arrive_relaxed(Site site) { arrive_at_cluster(false, site); }

void cluster_wait(Site site) {
  Cluster* cluster = running->warp->block->cluster;
  if (cluster == nullptr || !running->has_arrived) fail(site, "waits at the cluster's barrier without arriving");
  running->has_arrived = false;
  running->named = -1;
  wait_for_phase(cluster->barrier, running->arrival, site);
}

unsigned cluster_rank() { return running->warp->block->rank; }
unsigned cluster_size() { return current.cluster > 0 ? static_cast<unsigned>(current.cluster) : 1; }
unsigned cluster_index() { return running->warp->block->index / cluster_size(); }
unsigned cluster_count() { return static_cast<unsigned>(current.blocks) / cluster_size(); }

void* map_shared(const void* address, unsigned rank, Site site) {
  Block& own = *running->warp->block;
  if (own.cluster == nullptr || rank >= own.cluster->blocks.size()) fail(site, "the cluster has no block of this rank");
  Block& other = *own.cluster->blocks[rank];
  if (!other.begun) fail(site, "maps shared memory of a block that may not have begun");
  if (other.running == 0) fail(site, "maps shared memory of a block that has ended");
  const char* at = static_cast<const char*>(address);
  const char* dynamic = static_cast<const char*>(own.dynamic);
  if (at >= dynamic && at < dynamic + current.shared_bytes) return static_cast<char*>(other.dynamic) + (at - dynamic);
  const Statics shared = statics();
  if (at < shared.begin || at >= shared.begin + shared.bytes) fail(site, "maps an address outside of shared memory");
  if (&other == &own) return const_cast<char*>(at);
  return other.statics.data() + (at - shared.begin);
}

void wait_at_least(const unsigned* flag, unsigned target, Site site) {
  running->flag = flag;
  running->target = target;
  if (running->state = State::waiting; !running->sees_flag()) wait_here(site);
  running->state = State::ready;
  running->flag = nullptr;
  acquire(const_cast<unsigned*>(flag));
}
