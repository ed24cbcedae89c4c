// Which instruction sets were built, which this machine has, which one is in use.
#pragma once

namespace mk {

int isa_count();
const char* isa_name(int index);
bool isa_available(int index);  // the machine has it
int isa_best();                 // the widest available
int isa_current();
bool isa_force(int index);  // false if it is not available; isa_best() to return to the default

}  // namespace mk
