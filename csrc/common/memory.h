// What large tensors ask of the system.
#pragma once
#include <cstdint>

namespace mk {

// Asks for huge pages in the whole pages of a stretch of memory: a hint, whose failure only costs speed.
void prefer_huge_pages(void* memory, int64_t bytes);

}  // namespace mk
