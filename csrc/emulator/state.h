// What a launch consists of while it runs: lanes, warps, blocks and barriers.  Internal to emulator.cpp.
#pragma once
#include <cstdlib>
#include <memory>
#include <vector>

#include "emulator/emulator.h"
#include "emulator/fiber.h"

namespace mk::emulator {

constexpr int warp_lanes = 32, named_barriers = 16;
enum class State { ready, waiting, done };

// Of a block, a cluster or a grid.  What is done before it is ordered before what is done after it, phase by phase.
struct Barrier {
  unsigned arrived = 0, expected = 0, phase = 0;
  int votes = 0, result[2] = {0, 0};
  char order[2] = {0, 0};  // addresses for release and acquire

  // Counts a thread in; true for the last one.
  bool arrive(bool publishes = true) {
    if (publishes) release(&order[phase & 1]);
    if (++arrived < expected) return false;
    result[phase & 1] = votes;
    votes = 0;
    arrived = 0;
    ++phase;
    return true;
  }
};

struct Warp;

struct Lane {
  State state = State::done;
  Fiber* fiber = nullptr;
  Warp* warp = nullptr;
  unsigned thread = 0;  // of the block
  // what it waits for: a barrier, a flag, or else the other lanes of a mask
  Site site = {"", 0};
  Barrier* barrier = nullptr;
  int named = -1;  // of a barrier of the block
  const unsigned* flag = nullptr;
  unsigned target = 0, mask = 0;
  const char* what = "";
  int detail = 0;
  Together* together = nullptr;
  void* argument = nullptr;
  // of the cluster's barrier: has arrived and not yet waited, and in which phase
  bool has_arrived = false;
  unsigned arrival = 0, meetings = 0;

  bool waits_for_lanes() const { return state == State::waiting && barrier == nullptr && flag == nullptr; }
  bool sees_flag() const {
    return state == State::waiting && flag != nullptr &&
           static_cast<int>(__atomic_load_n(flag, __ATOMIC_RELAXED) - target) >= 0;
  }
};

struct Block;

struct Warp {
  Block* block = nullptr;
  int index = 0, count = 0;  // of its lanes
  Lane lane[warp_lanes];
  char order[2] = {0, 0};  // as in Barrier
};

struct Cluster {
  Barrier barrier;
  std::vector<Block*> blocks;
};

struct Block {
  unsigned index = 0, rank = 0;
  bool begun = false;
  int running = 0;  // lanes that have not ended
  Cluster* cluster = nullptr;
  std::vector<std::unique_ptr<Warp>> warps;
  Barrier barrier[named_barriers];
  void* dynamic = nullptr;
  std::vector<char> statics;  // its shared variables, while another block runs

  ~Block() { std::free(dynamic); }
};

}  // namespace mk::emulator
