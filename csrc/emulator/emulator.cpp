#include "emulator/emulator.h"

#include <link.h>

#include <cstdarg>
#include <cstdio>
#include <utility>

#include "emulator/state.h"

namespace mk::emulator {
namespace {

Launch current;
std::vector<std::unique_ptr<Block>> blocks;  // those that are there at once
std::vector<std::unique_ptr<Cluster>> clusters;
Barrier grid;
Lane* running;
Block* imaged;  // the block whose shared variables are in place
bool failed;
uint64_t random_state;
char problem[1200];
char launch_begins, launch_ends;  // for release and acquire between the caller and the threads
std::vector<void*> retired;       // dynamic shared memory that is freed after the launch

__attribute__((format(printf, 1, 2))) void set_problem(const char* format, ...) {
  va_list values;
  va_start(values, format);
  const size_t used = failed ? std::strlen(problem) : 0;
  std::vsnprintf(problem + used, sizeof problem - used, format, values);
  va_end(values);
  failed = true;
}

// Where the thread-local variables of this module are: those of the kernels, since the emulator has none but one.
thread_local char one_of_them;
struct Statics {
  char* begin = nullptr;
  size_t bytes = 0;
};
int find_statics(dl_phdr_info* info, size_t, void* found) {
  const auto own = reinterpret_cast<uintptr_t>(&current);
  bool mine = false;
  size_t bytes = 0;
  for (int k = 0; k < info->dlpi_phnum; ++k) {
    const auto& part = info->dlpi_phdr[k];
    const uintptr_t begin = info->dlpi_addr + part.p_vaddr;
    mine = mine || (part.p_type == PT_LOAD && own >= begin && own < begin + part.p_memsz);
    if (part.p_type == PT_TLS) bytes = part.p_memsz;
  }
  if (mine) *static_cast<Statics*>(found) = {static_cast<char*>(info->dlpi_tls_data), bytes};
  return mine;
}
Statics statics() {
  *static_cast<volatile char*>(&one_of_them) = 1;  // so that they are there
  Statics found;
  dl_iterate_phdr(find_statics, &found);
  return found;
}

bool has_statics() { return statics().bytes > sizeof one_of_them; }

// Puts the shared variables of a block in place; at its begin they, and its dynamic shared memory, are NaN.
void bring(Block& block) {
  if (imaged == &block) return;
  const Statics shared = statics();
  if (imaged != nullptr && has_statics()) imaged->statics.assign(shared.begin, shared.begin + shared.bytes);
  if (block.begun && has_statics()) std::memcpy(shared.begin, block.statics.data(), shared.bytes);
  if (!block.begun) {
    poison(shared.begin, shared.bytes);
    poison(block.dynamic, current.shared_bytes);
  }
  block.begun = true;
  imaged = &block;
}

const char* name_of(const char* file) {
  const char* slash = std::strrchr(file, '/');
  return slash == nullptr ? file : slash + 1;
}

[[noreturn]] void stop() {
  running->fiber->leave(false);
  std::abort();  // a failed launch runs nothing on
}

void wait_here(Site site) {
  running->site = site;
  running->state = State::waiting;
  Lane* self = running;
  self->fiber->leave(false);
  self->barrier = nullptr;
  self->flag = nullptr;
}

void wake(const Barrier& barrier) {
  for (auto& block : blocks)
    for (auto& warp : block->warps)
      for (Lane& lane : warp->lane)
        if (lane.state == State::waiting && lane.barrier == &barrier) lane.state = State::ready;
}

void wait_for_phase(Barrier& barrier, unsigned phase, Site site) {
  if (barrier.phase == phase) {
    running->barrier = &barrier;
    wait_here(site);
  }
  acquire(&barrier.order[phase & 1]);
}

void enter() {
  Fiber::entered();
  acquire(&launch_begins);
  current.kernel(current.argument);
  release(&launch_ends);
  running->state = State::done;
  --running->warp->block->running;
  running->fiber->leave(true);
}

void resume(Lane& lane) {
  Block& block = *lane.warp->block;
  bring(block);
  running = &lane;
  threadIdx = {lane.thread, 0, 0};
  blockIdx = {block.index, 0, 0};
  lane.fiber->run();
  if (block.running > 0 || failed) return;
  void* nobodys = std::exchange(block.dynamic, nullptr);
#if defined(MK_THREAD_SANITIZER)
  retired.push_back(nobodys);  // it would take the freeing for an access
#else
  std::free(nobodys);
#endif
}

bool have_met(const Warp& warp, const Lane& asking) {
  for (int l = 0; l < warp_lanes; ++l)
    if (asking.mask >> l & 1) {
      const Lane& other = warp.lane[l];
      if (!other.waits_for_lanes() || other.mask != asking.mask || other.detail != asking.detail ||
          other.what != asking.what || other.site.line != asking.site.line)
        return false;
    }
  return true;
}

// Completes every meeting whose lanes have all arrived.
void complete_meetings(Warp& warp) {
  for (Lane& asking : warp.lane) {
    if (!asking.waits_for_lanes() || !have_met(warp, asking)) continue;
    const unsigned mask = asking.mask;
    void* arguments[warp_lanes] = {};
    for (int l = 0; l < warp_lanes; ++l)
      if (mask >> l & 1) arguments[l] = warp.lane[l].argument;
    if (asking.together != nullptr) asking.together(arguments, mask);
    for (int l = 0; l < warp_lanes; ++l)
      if (mask >> l & 1) warp.lane[l].state = State::ready;
  }
}

uint64_t random_number() {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return random_state >> 33;
}

std::vector<int> permutation(int count) {
  const unsigned order = current.order;
  std::vector<int> places(static_cast<size_t>(count));
  for (int k = 0; k < count; ++k) places[static_cast<size_t>(k)] = order == 1 ? count - 1 - k : k;
  for (int k = count - 1; order > 1 && k > 0; --k)
    std::swap(places[static_cast<size_t>(k)], places[random_number() % static_cast<uint64_t>(k + 1)]);
  return places;
}

// Runs a warp until all of its lanes wait or have ended; whether any ran.
bool run_warp(Warp& warp) {
  for (bool progress = false;; progress = true) {
    bool any = false;
    for (const int index : permutation(warp.count)) {
      Lane& lane = warp.lane[index];
      if (lane.sees_flag()) lane.state = State::ready;
      if (lane.state != State::ready) continue;
      resume(lane);
      if (failed) return true;
      any = true;
    }
    complete_meetings(warp);
    if (!any) return progress;
  }
}

bool waits_for_same(const Lane& a, const Lane& b) {
  return a.state == b.state && (a.state == State::done || (a.barrier == b.barrier && a.flag == b.flag &&
                                                           a.what == b.what && a.site.line == b.site.line));
}

void tell_waiting(const Lane& lane) {
  set_problem("block %u, thread %u waits for ever ", lane.warp->block->index, lane.thread);
  if (lane.flag != nullptr)
    set_problem("for a flag to be %u, which is %u", lane.target, *lane.flag);
  else if (lane.barrier == nullptr)
    set_problem("in %s with mask %08x", lane.what, lane.mask);
  else if (lane.named >= 0)
    set_problem("at barrier %d of the block, where %u of %u threads are", lane.named, lane.barrier->arrived,
                lane.barrier->expected);
  else
    set_problem("at the barrier of the %s, where %u of %u threads are", lane.barrier == &grid ? "grid" : "cluster",
                lane.barrier->arrived, lane.barrier->expected);
  set_problem(" (%s:%d)", name_of(lane.site.file), lane.site.line);
}

// Names what every lane waits for: once for those of a warp that wait for the same.
void tell_all_waiting() {
  for (auto& block : blocks)
    for (auto& warp : block->warps) {
      bool whole_end = true;
      for (int l = 0; l < warp->count; ++l) whole_end = whole_end && warp->lane[l].state == State::done;
      unsigned told = 0;
      for (int l = 0; l < warp->count && !whole_end; ++l) {
        const Lane& lane = warp->lane[l];
        if (told >> l & 1) continue;
        if (failed) set_problem("; ");
        lane.state == State::done ? set_problem("block %u", block->index) : tell_waiting(lane);
        set_problem(lane.state == State::done ? ", ended: lanes" : ", lanes");
        for (int first = l; first < warp->count; ++first) {
          if (!waits_for_same(lane, warp->lane[first])) continue;
          int last = first;
          while (last + 1 < warp->count && waits_for_same(lane, warp->lane[last + 1])) ++last;
          for (int k = first; k <= last; ++k) told |= 1u << k;
          first == last ? set_problem(" %d", first) : set_problem(" %d-%d", first, last);
          first = last;
        }
        set_problem(" of warp %d", warp->index);
      }
    }
}

// Runs the blocks that are there until all have ended, or one fails.
bool run_blocks() {
  std::vector<Warp*> warps;
  for (auto& block : blocks)
    for (auto& warp : block->warps) warps.push_back(warp.get());
  for (;;) {
    bool progress = false, all_done = true;
    for (const int index : permutation(static_cast<int>(warps.size()))) {
      progress = run_warp(*warps[static_cast<size_t>(index)]) || progress;
      if (failed) return false;
    }
    for (auto& block : blocks) all_done = all_done && block->running == 0;
    if (all_done) return true;
    if (progress) continue;
    tell_all_waiting();
    return false;
  }
}

void make_block(unsigned index, std::vector<Fiber*>& fibers, size_t poisoned) {
  auto block = std::make_unique<Block>();
  block->index = index;
  block->running = current.block_threads;
  // alignment and end exact, so that the address sanitizer sees the first byte behind it
  if (posix_memalign(&block->dynamic, 128, current.shared_bytes + (current.shared_bytes == 0)) != 0) std::abort();
  for (int thread = 0; thread < current.block_threads; ++thread) {
    if (thread % warp_lanes == 0) {
      block->warps.push_back(std::make_unique<Warp>());
      block->warps.back()->block = block.get();
      block->warps.back()->index = thread / warp_lanes;
    }
    Warp& warp = *block->warps.back();
    Lane& lane = warp.lane[warp.count++];
    lane.warp = &warp;
    lane.thread = static_cast<unsigned>(thread);
    lane.fiber = fibers.back();
    lane.state = State::ready;
    fibers.pop_back();
    lane.fiber->start(enter, poisoned);
  }
  if (current.cluster > 0) {
    if (index % static_cast<unsigned>(current.cluster) == 0) {
      clusters.push_back(std::make_unique<Cluster>());
      clusters.back()->barrier.expected = static_cast<unsigned>(current.cluster * current.block_threads);
    }
    block->cluster = clusters.back().get();
    block->rank = index % static_cast<unsigned>(current.cluster);
    block->cluster->blocks.push_back(block.get());
  }
  blocks.push_back(std::move(block));
}

std::vector<std::unique_ptr<Fiber>> all_fibers;

bool run_blocks_from(int first, int count) {
  const size_t threads = static_cast<size_t>(count * current.block_threads);
  while (all_fibers.size() < threads) all_fibers.push_back(std::make_unique<Fiber>());
  std::vector<Fiber*> fibers;
  for (size_t k = threads; k-- > 0;) fibers.push_back(all_fibers[k].get());
  blocks.clear();
  clusters.clear();
  imaged = nullptr;
  for (int index = first; index < first + count; ++index)
    make_block(static_cast<unsigned>(index), fibers, threads > 512 ? 8 * 1024 : 64 * 1024);
  // Blocks one after another are not ordered, unless their shared variables have the same addresses.
  if (has_statics()) acquire(&launch_ends);
  release(&launch_begins);
  return run_blocks();
}

}  // namespace

#include "emulator/calls.h"

const char* run(const Launch& launch) {
  current = launch;
  failed = false;
  problem[0] = 0;
  if (launch.cluster > 0 && launch.blocks % launch.cluster != 0) return "the grid is not made of whole clusters";
  if (launch.block_threads < 1 || launch.block_threads > 1024) return "a block has 1 to 1024 threads";
  blockDim = {static_cast<unsigned>(launch.block_threads), 1, 1};
  gridDim = {static_cast<unsigned>(launch.blocks), 1, 1};
  grid = Barrier{};
  grid.expected = gridDim.x * blockDim.x;
  random_state = launch.order;
  const int at_once = launch.cooperative ? launch.blocks : launch.cluster > 0 ? launch.cluster : 1;
  for (const int part : permutation(at_once > 0 ? launch.blocks / at_once : 0))
    if (!run_blocks_from(part * at_once, at_once)) return problem;
  acquire(&launch_ends);
  for (void* memory : retired) std::free(memory);
  retired.clear();
  return nullptr;
}

}  // namespace mk::emulator
