// The pack width of the instruction set that this file is being compiled for.
#pragma once
#include "common/vec.h"

namespace mk::MK_ISA {

#if defined(MK_VECTOR_BYTES)  // for csrc/tests/pack_widths.cpp
constexpr int vector_bytes = MK_VECTOR_BYTES;
#elif defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX2__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif

template <class T>
using Pack = Vec<T, vector_bytes / int{sizeof(T)}>;

// Sums over a batch go through 32 columns on every machine: column c takes the samples c, c + 32, … in their order, and
// the 32 columns are added as a balanced tree.  So packs of 4, 8 or 16 lanes and the 32 lanes of a warp round alike.
constexpr int columns = 32;

}  // namespace mk::MK_ISA
