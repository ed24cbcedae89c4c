// Which instruction sets were built, which this machine has, which one is in use.
#pragma once

// The instruction sets of the build, narrowest first; CMakeLists.txt compiles the kernels once for each.
#if defined(__x86_64__)
#define MK_FOR_EACH_ISA(f) f(generic) f(v3) f(v4)
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

}  // namespace mk
