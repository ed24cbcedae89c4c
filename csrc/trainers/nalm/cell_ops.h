// One cell behind pointers, for the trainer that takes any cells (train_any.h).  An indirect call for a pack of samples
// costs little beside the call's work, and each cell is compiled once.
#pragma once
#include "cells/cell.h"
#include "common/lanes.h"
#include "trainers/nalm/program.h"

namespace mk::MK_ISA {

// The functions are those of cell.h; lanes are samples in forward and backward, models in prepare and finish.
template <class R>
struct CellOps {
  using V = Pack<R>;
  int (*parameters)(int n), (*derived)(int n), (*saved)(int n), (*gradients)(int n);
  int groups;
  int (*group)(int n, int k);
  int (*weights)(int n), (*weight)(int n, int k), (*term)(int n, int k);
  void (*prepare[2])(int n, CellOptions<R>, const V* p, V* d);                                         // by Mode
  void (*forward[2])(int n, CellOptions<R>, const V* x, const V* d, V* s, V* z);                       // by Mode
  void (*backward[2])(int n, CellOptions<R>, const V* x, const V* d, const V* s, V* dz, V* g, V* dx);  // with dx: [1]
  void (*finish)(int n, const V* p, const V* d, const V* g, V* dp);
};

template <class Core, class R>
struct CellFunctions {
  using V = Pack<R>;
  template <Mode mode>
  static void prepare(int n, CellOptions<R> options, const V* p, V* d) {
    Core::template prepare<mode>(n, options, static_cast<const V*>(nullptr), p, d);
  }
  template <Mode mode>
  static void forward(int n, CellOptions<R> options, const V* x, const V* d, V* s, V* z) {
    *z = Core::template forward<mode>(n, options, x, d, s);
  }
  template <bool Dx>
  static void backward(int n, CellOptions<R> options, const V* x, const V* d, const V* s, V* dz, V* g, V* dx) {
    Core::template backward<Dx>(n, options, x, d, s, *dz, g, dx);
  }
  static void finish(int n, const V* p, const V* d, const V* g, V* dp) { Core::finish(n, p, d, g, dp); }

  static constexpr CellOps<R> table = {Core::parameters,
                                       Core::derived,
                                       Core::saved,
                                       Core::gradients,
                                       Core::groups,
                                       Core::group,
                                       Core::weights,
                                       Core::weight,
                                       Core::term,
                                       {prepare<Mode::training>, prepare<Mode::evaluation>},
                                       {forward<Mode::training>, forward<Mode::evaluation>},
                                       {backward<false>, backward<true>},
                                       finish};
};

// Of a cell of the program's enumeration, or nullptr.
const CellOps<float>* float_cell(Cell cell);
const CellOps<double>* double_cell(Cell cell);

// `custom` is the table of Cell::custom.
template <class R>
const CellOps<R>* cell_ops(int64_t cell, const void* custom) {
  if (cell == static_cast<int64_t>(Cell::custom)) return static_cast<const CellOps<R>*>(custom);
  if constexpr (sizeof(R) == sizeof(float))
    return float_cell(static_cast<Cell>(cell));
  else
    return double_cell(static_cast<Cell>(cell));
}

}  // namespace mk::MK_ISA
