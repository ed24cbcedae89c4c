// What each instruction set provides: function pointers over one item of work.  Plain data only, because this header is
// seen by files that are compiled for different instruction sets.
#pragma once
#include <cstdint>

#include "kernels/sequences/shape.h"
#include "mathkernels.h"

namespace mk {

template <class T>
struct AttentionKernels;  // kernels/attention/shape.h

// Rows are taken in blocks of block_rows, a multiple of chunk_rows that depends on the batch alone.
struct LayerShape {
  int64_t models, batch, in, out;
  int64_t blocks, block_rows;
};
constexpr int64_t chunk_rows = 256;

template <class T>
struct LayerTensors {
  const T *x, *weight, *gate, *dy;
  T *y, *dx, *dweight, *dgate;
  T* partial;  // (E, blocks, O, gradients): sums of each block
  T epsilon;
};

template <class T>
using LayerItem = void(const LayerShape&, const LayerTensors<T>&, int64_t item, void* scratch);

// Pairs are indexed by training (0) and evaluation (1).  An item of forward and backward is a block of rows of a model,
// models slowest; an item of finish is a model.  Scratch is aligned to 64 bytes.
template <class T>
struct LayerKernels {
  LayerItem<T>*forward[2], *backward[2], *finish[2];
  int64_t (*forward_scratch)(const LayerShape&);  // bytes that one thread needs, a multiple of 64
  int64_t (*backward_scratch)(const LayerShape&);
  int64_t (*gradients)(int64_t in);
  int gates;  // per input, which the outputs of a model share
};

// A unit along a sequence.  An item of forward and backward is a block of recurrent_rows rows of a model, models
// slowest; an item of finish is a model.
constexpr int64_t recurrent_rows = 128;
struct RecurrentShape {
  int64_t models, steps, batch, blocks;
};

template <class T>
struct RecurrentTensors {
  const T *l, *weight, *initial, *states, *dstates;
  T *h, *dl, *dweight, *dinitial;
  T* partial;  // (E, blocks, gradients): sums of each block
  T epsilon;
};

template <class T>
using RecurrentItem = void(const RecurrentShape&, const RecurrentTensors<T>&, int64_t item, void* scratch);

template <class T>
struct RecurrentKernels {
  RecurrentItem<T>*forward, *backward, *finish;
  int64_t scratch;  // bytes that one thread needs in backward, a multiple of 64
  int64_t gradients;
};

// Elementwise kernels; a sum goes over a block of up to block_values numbers.
constexpr int64_t block_values = 8192;
template <class T>
struct Kernels {
  const LayerKernels<T>* layer[layer_kinds];              // by LayerKind
  const RecurrentKernels<T>* recurrent[recurrent_kinds];  // by RecurrentKind
  const SequenceKernels<T>* sequence[sequence_kinds];     // by SequenceKind
  const AttentionKernels<T>* attention;
  void (*clipped_reciprocal_forward)(int64_t count, T limit, T bound, const T* x, T* y);
  void (*clipped_reciprocal_backward)(int64_t count, T bound, const T* dy, const T* x, T* dx);
  T (*discretisation_sum)(int kind, int64_t count, const T* weight);
  void (*discretisation_backward)(int kind, int64_t count, T scale, const T* weight, T* dweight);
  void (*elementary)(Elementary function, int64_t count, const T* x, const T* w, T* y);
};

#ifdef MK_ISA
// Calls define(real, ...) for the types that a file is compiled for: both, or MK_REAL alone, so that a build can spend
// less on double.
#define MK_CALL(define, ...) define(__VA_ARGS__)
#ifdef MK_REAL
#define MK_FOR_EACH_REAL(define, ...) MK_CALL(define, MK_REAL, __VA_ARGS__)
#else
#define MK_FOR_EACH_REAL(define, ...) MK_CALL(define, float, __VA_ARGS__) MK_CALL(define, double, __VA_ARGS__)
#endif

namespace MK_ISA {
#define MK_DECLARE_LAYER(name)                   \
  extern const LayerKernels<float> name##_float; \
  extern const LayerKernels<double> name##_double;
MK_LAYER_KINDS(MK_DECLARE_LAYER)
#undef MK_DECLARE_LAYER
#define MK_DECLARE_RECURRENT(name)                               \
  extern const RecurrentKernels<float> recurrent_##name##_float; \
  extern const RecurrentKernels<double> recurrent_##name##_double;
MK_RECURRENT_KINDS(MK_DECLARE_RECURRENT)
#undef MK_DECLARE_RECURRENT

template <class T>
void clipped_reciprocal_forward(int64_t count, T limit, T bound, const T* x, T* y);
template <class T>
void clipped_reciprocal_backward(int64_t count, T bound, const T* dy, const T* x, T* dx);
template <class T>
T discretisation_sum(int kind, int64_t count, const T* weight);
template <class T>
void discretisation_backward(int kind, int64_t count, T scale, const T* weight, T* dweight);
template <class T>
void elementary(Elementary function, int64_t count, const T* x, const T* w, T* y);

extern const AttentionKernels<float> attention_float;
extern const AttentionKernels<double> attention_double;

extern const Kernels<float> kernels_float;
extern const Kernels<double> kernels_double;
}  // namespace MK_ISA
#endif

}  // namespace mk
