// Memory for large tensors that is kept between calls.  A training step asks for the same hundreds of megabytes again
// and again; malloc maps them anew each time, and on long sequences the page faults of that take up to 40 % of the
// step. Not for several threads at once: the callers hold the interpreter's lock.
#pragma once
#include <cstdint>

namespace mk {

struct Block {
  void* address;  // nullptr: the system gave none
  int64_t bytes;  // at least what was asked for
};

// Hands out a block whose content is arbitrary, aligned to 2 MB, on huge pages where the system has them.  What is kept
// for later and what is in use are together never more than was in use at once.
Block take_block(int64_t bytes);
void return_block(Block block);

// Gives everything that is kept back to the system; returns how many bytes that was.
int64_t release_blocks();
int64_t kept_bytes();

}  // namespace mk
