// Which instruction sets were built, which this machine has, which one is in use.
#pragma once

// The instruction sets of the build, narrowest first; CMakeLists.txt compiles the kernels once for each.
#if defined(__x86_64__)
#define MK_FOR_EACH_ISA(f) f(generic) f(v2) f(v3) f(v4)
#else
#define MK_FOR_EACH_ISA(f) f(generic)
#endif

namespace mk {

int isa_count();
const char* isa_name(int index);
bool isa_available(int index);  // the machine has it
int isa_best();                 // the widest available
int isa_current();
bool isa_force(int index);  // false if it is not available; isa_best() to return to the default

// Whether products of bfloat16 take two numbers at a time, by vdpbf16ps where the set in use has 512 bits and in plain
// operations elsewhere.  Bits are the same either way.  By default the processor decides, which must have the
// instruction and not be slower with it than with fused multiply-adds of floats.
enum class Pairs : int { never, always, where_faster };
bool bfloat16_pairs();
bool bfloat16_pairs_set(Pairs which);  // false if the processor lacks the instruction that the set in use needs

}  // namespace mk
