// A module of the user's own as a shared library of one cell.  The build of mathkernels does not compile this file;
// `python -m mathkernels.ensemble.custom build my_module.h` does, with my_module.h included before it and with
//     MK_ISA             an instruction set that was built, with its flags
//     MK_MODULE_VERSION  of mathkernels
//     MK_MODULE_NAME     for messages
// The header defines mk::MK_ISA::Custom after cells/cell.h.  mathkernels/ensemble/custom/library.py loads the library.
#include "cells/cell.h"
#include "trainers/nalm/cell_ops.h"

#define MK_TEXT_OF(name) #name
#define MK_TEXT(name) MK_TEXT_OF(name)
#define MK_EXPORT extern "C" __attribute__((visibility("default"), used))

namespace mk::MK_ISA {
namespace {

using Float = CellFunctions<Custom, float>;
using Double = CellFunctions<Custom, double>;
using V = Pack<double>;
constexpr int width = Number<V>::width;

// Cuts one piece of memory into arrays of packs, with a guard after each.
struct Arrays {
  static constexpr int count = 8;
  static constexpr double guard = 0x1.5p+1000;
  V* next;
  int taken = 0;
  V* guards[count] = {};

  V* take(int packs) {
    V* first = next;
    guards[taken] = first + packs;
    *guards[taken++] = constant<V>(guard);
    next = first + packs + 1;
    return first;
  }
  // 1 + the array beyond whose end something was written, or 0.
  int overrun() const {
    for (int k = 0; k < count; ++k)
      for (int l = 0; l < width; ++l)
        if ((*guards[k])[l] != guard) return k + 1;
    return 0;
  }
};

void splat_all(int count, const double* from, V* to) {
  for (int k = 0; k < count; ++k) to[k] = splat<V>(from[k]);
}

}  // namespace
}  // namespace mk::MK_ISA

// What the library says of itself.  It is read from the file's bytes, before any of its code runs.
struct MathkernelsModule {
  char mark[40];
  int64_t interface, cell_bytes, vector_bytes;
  char isa[16], version[32], name[64];
};
MK_EXPORT const MathkernelsModule mathkernels_module = {"mathkernels: a module in one file",
                                                        mk::cell_interface,
                                                        sizeof(mk::MK_ISA::CellOps<float>),
                                                        mk::MK_ISA::vector_bytes,
                                                        MK_TEXT(MK_ISA),
                                                        MK_MODULE_VERSION,
                                                        MK_MODULE_NAME};

// The table of functions, CellOps<float> for 0 and CellOps<double> for 1.
MK_EXPORT const void* mathkernels_cell(int dtype) {
  if (dtype == 0) return &mk::MK_ISA::Float::table;
  return &mk::MK_ISA::Double::table;
}

// For n inputs: parameters, derived numbers, saved numbers, gradients, weights, and the groups of any n.
MK_EXPORT void mathkernels_counts(int n, int64_t* out) {
  const auto& ops = mk::MK_ISA::Double::table;
  const int counts[] = {ops.parameters(n), ops.derived(n), ops.saved(n), ops.gradients(n), ops.weights(n), ops.groups};
  for (int k = 0; k < 6; ++k) out[k] = counts[k];
}

// The group of every parameter, the place of every weight among the derived numbers, and its term.
MK_EXPORT void mathkernels_places(int n, int64_t* groups, int64_t* weights, int64_t* terms) {
  const auto& ops = mk::MK_ISA::Double::table;
  for (int k = 0; k < ops.parameters(n); ++k) groups[k] = ops.group(n, k);
  for (int k = 0; k < ops.weights(n); ++k) {
    weights[k] = ops.weight(n, k);
    terms[k] = ops.term(n, k);
  }
}

MK_EXPORT int64_t mathkernels_scratch_bytes(int n) {
  const auto& ops = mk::MK_ISA::Double::table;
  const int64_t packs =
      mk::MK_ISA::Arrays::count + 2 * n + 2 * ops.parameters(n) + ops.derived(n) + ops.saved(n) + 2 * ops.gradients(n);
  return packs * mk::MK_ISA::vector_bytes;
}

// One unit in double, through the functions that the trainer calls, on `count` samples, a multiple of 8.
// Inputs x [n][count], p [parameters], dz [count]; outputs z [count] and, unless `backward` is -1, dp [parameters] and,
// if it is 1, dx [n][count].  Backward follows a forward pass in training.  `scratch` is aligned to 64 bytes.
// Returns 0, or which array the cell has overrun: x 1, dx 2, p 3, dp 4, derived 5, saved 6, gradients 7, their sums 8.
MK_EXPORT int mathkernels_pass(int evaluation, int backward, int n, int64_t count, double epsilon, const double* x,
                               const double* p, const double* dz, double* z, double* dx, double* dp, void* scratch) {
  using namespace mk::MK_ISA;
  const auto& ops = Double::table;
  const CellOptions<double> options{epsilon};
  const int parameters = ops.parameters(n), gradients = ops.gradients(n);
  Arrays arrays{static_cast<V*>(scratch)};
  V *sample = arrays.take(n), *slope = arrays.take(n), *raw = arrays.take(parameters), *to = arrays.take(parameters);
  V *d = arrays.take(ops.derived(n)), *s = arrays.take(ops.saved(n));
  V *g = arrays.take(gradients), *sum = arrays.take(gradients);
  splat_all(parameters, p, raw);
  ops.prepare[evaluation](n, options, raw, d);
  for (int k = 0; k < gradients; ++k) g[k] = constant<V>(0);
  for (int64_t at = 0; at < count; at += width) {
    for (int i = 0; i < n; ++i) sample[i] = V::load(x + i * count + at);
    V value = constant<V>(0);
    ops.forward[evaluation](n, options, sample, d, s, &value);
    value.store(z + at);
    if (backward < 0) continue;
    value = V::load(dz + at);
    ops.backward[backward](n, options, sample, d, s, &value, g, slope);
    for (int i = 0; backward == 1 && i < n; ++i) slope[i].store(dx + i * count + at);
  }
  if (backward < 0) return arrays.overrun();
  for (int k = 0; k < gradients; ++k) sum[k] = splat<V>(lane_sum(g[k]));
  ops.finish(n, raw, d, sum, to);
  for (int k = 0; k < parameters; ++k) dp[k] = to[k][0];
  return arrays.overrun();
}
