#include "emulator/emulator.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <cstdio>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace mk::emulator {
namespace {

constexpr int lanes = 32;
constexpr size_t stack_bytes = 512 * 1024, page = 4096, poisoned = 64 * 1024;
constexpr uint64_t nobody = ~uint64_t{0};  // a NaN as float and as double

// The address sanitizer wants to be told of every change of stacks: the one that is left keeps its state in `keep`.
void before_switch([[maybe_unused]] void** keep, [[maybe_unused]] const void* stack, [[maybe_unused]] size_t size) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(keep, stack, size);
#endif
}
void after_switch([[maybe_unused]] void* kept, [[maybe_unused]] const void** stack, [[maybe_unused]] size_t* size) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(kept, stack, size);
#endif
}

enum class State { ready, waiting, done };

struct Lane {
  State state = State::done;
  ucontext_t context;
  char* stack = nullptr;  // above a guard page
  unsigned mask = 0;
  int kind = 0, source = 0;
  uint64_t bits = 0;
  void* fake_stack = nullptr;  // see before_switch
};

Lane warp[lanes];
ucontext_t scheduler;
void* scheduler_fake_stack;
const void* scheduler_stack;  // the caller's, as the first switch reports it
size_t scheduler_stack_bytes;
int running;
unsigned first_thread;
void (*body)(void*);
void* body_argument;
char problem[200];

void to_scheduler(bool last) {
  Lane& lane = warp[running];
  before_switch(last ? nullptr : &lane.fake_stack, scheduler_stack, scheduler_stack_bytes);
  swapcontext(&lane.context, &scheduler);
  after_switch(lane.fake_stack, nullptr, nullptr);
}

void enter() {
  after_switch(nullptr, &scheduler_stack, &scheduler_stack_bytes);
  body(body_argument);
  warp[running].state = State::done;
  to_scheduler(true);
}

void start(Lane& lane) {
  if (lane.stack == nullptr) {
    void* memory = mmap(nullptr, stack_bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(memory, page, PROT_NONE);
    lane.stack = static_cast<char*>(memory) + page;
  }
  std::memset(lane.stack + stack_bytes - poisoned, 0xff, poisoned);
  getcontext(&lane.context);
  lane.context.uc_stack.ss_sp = lane.stack;
  lane.context.uc_stack.ss_size = stack_bytes;
  lane.context.uc_link = nullptr;
  makecontext(&lane.context, enter, 0);
  lane.fake_stack = nullptr;
  lane.state = State::ready;
}

void resume(int index) {
  running = index;
  threadIdx.x = first_thread + static_cast<unsigned>(index);
  before_switch(&scheduler_fake_stack, warp[index].stack, stack_bytes);
  swapcontext(&scheduler, &warp[index].context);
  after_switch(scheduler_fake_stack, nullptr, nullptr);
}

bool arrived(const Lane& asking) {
  for (int l = 0; l < lanes; ++l)
    if (asking.mask >> l & 1) {
      const Lane& other = warp[l];
      if (other.state != State::waiting || other.mask != asking.mask || other.kind != asking.kind) return false;
    }
  return true;
}

// Completes every shuffle whose lanes have all arrived.
void meet() {
  for (Lane& asking : warp) {
    if (asking.state != State::waiting || !arrived(asking)) continue;
    const unsigned mask = asking.mask;
    uint64_t brought[lanes];
    for (int l = 0; l < lanes; ++l) brought[l] = warp[l].bits;
    for (int l = 0; l < lanes; ++l)
      if (mask >> l & 1) {
        const int source = warp[l].source;
        const bool given = source >= 0 && source < lanes && (mask >> source & 1);
        warp[l].bits = given ? brought[source] : nobody;
        warp[l].state = State::ready;
      }
  }
}

std::vector<int> permutation(int count, unsigned order, uint64_t& random) {
  std::vector<int> places(static_cast<size_t>(count));
  for (int k = 0; k < count; ++k) places[static_cast<size_t>(k)] = order == 1 ? count - 1 - k : k;
  for (int k = count - 1; order > 1 && k > 0; --k) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    std::swap(places[static_cast<size_t>(k)], places[(random >> 33) % static_cast<uint64_t>(k + 1)]);
  }
  return places;
}

bool run_warp(unsigned order, uint64_t& random) {
  for (Lane& lane : warp) start(lane);
  for (;;) {
    bool progress = false;
    for (const int index : permutation(lanes, order, random))
      if (warp[index].state == State::ready) {
        resume(index);
        progress = true;
      }
    meet();
    if (progress) continue;
    for (int l = 0; l < lanes; ++l)
      if (warp[l].state == State::waiting) {
        std::snprintf(problem, sizeof problem, "block %u, thread %u waits for ever in a shuffle with mask %08x",
                      blockIdx.x, first_thread + static_cast<unsigned>(l), warp[l].mask);
        return false;
      }
    return true;
  }
}

}  // namespace

int current_lane() { return running; }

uint64_t exchange(unsigned mask, int kind, int source, uint64_t bits) {
  Lane& lane = warp[running];
  lane.mask = mask | 1u << running;  // a lane that is not in its own mask never finds the others waiting for it
  lane.kind = kind;
  lane.source = source;
  lane.bits = bits;
  lane.state = State::waiting;
  to_scheduler(false);
  return lane.bits;
}

const char* launch(int blocks, int block_threads, unsigned order, void (*kernel)(void*), void* argument) {
  body = kernel;
  body_argument = argument;
  blockDim.x = static_cast<unsigned>(block_threads);
  uint64_t random = order;
  for (const int block : permutation(blocks, order, random))
    for (const int w : permutation(block_threads / lanes, order, random)) {
      blockIdx.x = static_cast<unsigned>(block);
      first_thread = static_cast<unsigned>(w * lanes);
      if (!run_warp(order, random)) return problem;
    }
  return nullptr;
}

}  // namespace mk::emulator
