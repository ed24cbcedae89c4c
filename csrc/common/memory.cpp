#include "common/memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <vector>

namespace mk {
namespace {

constexpr int64_t page = int64_t{2} << 20;

std::vector<Block> kept;  // the one given back last stands last
int64_t in_use = 0, in_use_at_most = 0;

void free_block(size_t index) {
  std::free(kept[index].address);
  kept.erase(kept.begin() + static_cast<std::ptrdiff_t>(index));
}

// The smallest kept block that holds `bytes` and wastes at most half as much again, else kept.size().
size_t fitting(int64_t bytes) {
  size_t best = kept.size();
  for (size_t k = 0; k < kept.size(); ++k)
    if (kept[k].bytes >= bytes && kept[k].bytes <= bytes + bytes / 2 &&
        (best == kept.size() || kept[k].bytes < kept[best].bytes))
      best = k;
  return best;
}

Block map_block(int64_t bytes) {
  void* address = std::aligned_alloc(page, static_cast<size_t>(bytes));
#ifdef MADV_HUGEPAGE
  if (address) madvise(address, static_cast<size_t>(bytes), MADV_HUGEPAGE);  // a wish; without it all is only slower
#endif
  return {address, bytes};
}

}  // namespace

Block take_block(int64_t bytes) {
  bytes = (bytes + page - 1) / page * page;
  Block block{nullptr, 0};
  if (const size_t found = fitting(bytes); found < kept.size()) {
    block = kept[found];
    kept.erase(kept.begin() + static_cast<std::ptrdiff_t>(found));
  } else {
    const int64_t limit = in_use + bytes > in_use_at_most ? in_use + bytes : in_use_at_most;
    while (!kept.empty() && in_use + bytes + kept_bytes() > limit) free_block(0);
    block = map_block(bytes);
    if (!block.address && release_blocks() > 0) block = map_block(bytes);
    if (!block.address) return {nullptr, 0};
  }
  in_use += block.bytes;
  if (in_use > in_use_at_most) in_use_at_most = in_use;
  return block;
}

void return_block(Block block) {
  in_use -= block.bytes;
  kept.push_back(block);
}

int64_t kept_bytes() {
  int64_t bytes = 0;
  for (const Block& block : kept) bytes += block.bytes;
  return bytes;
}

int64_t release_blocks() {
  const int64_t bytes = kept_bytes();
  while (!kept.empty()) free_block(0);
  in_use_at_most = in_use;
  return bytes;
}

}  // namespace mk
