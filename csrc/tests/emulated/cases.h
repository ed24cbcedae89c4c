// Small kernels that show what the emulator does: each file has some, and runs them as a program.
//
//     program [CASE [ORDER]]     all cases in several orders, or some; writes what is wrong and then returns 1
//
// python_tests/test_emulator.py plants defects into them and expects that they are found.  nvcc compiles the kernels as
// well, so that they are what a GPU would run.
#pragma once
#include "cuda/sync.h"

namespace mk::MK_ISA {
namespace cg = cooperative_groups;
}

#if defined(MK_EMULATOR)
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace mk::MK_ISA {

struct Case {
  const char* name;
  std::string (*run)(unsigned order);  // an empty string, or what is wrong
};

// kernel(): a lambda that calls the kernel with its arguments.
template <class Kernel>
std::string emulate(emulator::Launch launch, unsigned order, Kernel kernel) {
  launch.order = order;
  launch.kernel = [](void* argument) { (*static_cast<Kernel*>(argument))(); };
  launch.argument = &kernel;
  const char* problem = emulator::run(launch);
  return problem == nullptr ? "" : problem;
}

// Whether all is as expected, for numbers that are exact in any order.
template <class T, class Expected>
std::string differs(const std::vector<T>& got, Expected expected) {
  for (size_t k = 0; k < got.size(); ++k)
    if (!(got[k] == expected(static_cast<int>(k))))
      return "wrong: element " + std::to_string(k) + " is " + std::to_string(got[k]) + ", not " +
             std::to_string(expected(static_cast<int>(k)));
  return "";
}

template <size_t count>
int run_cases(const Case (&cases)[count], int words, char** word) {
  int wrong = 0;
  for (const Case& each : cases) {
    if (words > 1 && each.name != std::string(word[1])) continue;
    for (unsigned order = 0; order < 8; ++order) {
      if (words > 2 && order != static_cast<unsigned>(std::atoi(word[2]))) continue;
      const std::string problem = each.run(order);
      if (problem.empty()) continue;
      std::printf("%s, order %u: %s\n", each.name, order, problem.c_str());
      wrong = 1;
    }
  }
  return wrong;
}

}  // namespace mk::MK_ISA
#endif
