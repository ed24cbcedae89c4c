// Layers, units along sequences, and what goes number by number.
#include "mathkernels.h"
#include "tests/calls.h"
#include "trainers/nalm/cell_ops.h"

namespace mk {
namespace {

// Every layer has a cell of its name, which knows how many parameters there are; gates are among them.
struct Counted {
  Cell cell;
  int gates;
};
#define MK_COUNTED(name) {Cell::name, 0},
constexpr Counted layer_cells[] = {MK_LAYER_KINDS(MK_COUNTED)};
constexpr Counted recurrent_cells[] = {MK_RECURRENT_KINDS(MK_COUNTED)};
#undef MK_COUNTED

int64_t gates_of(LayerKind kind) {
  switch (kind) {
    case LayerKind::real_npu:
    case LayerKind::npu:
      return 1;
    case LayerKind::nmru_gated:
      return 2;
    default:
      return 0;
  }
}
int64_t parameters_of(Cell cell, int64_t inputs) {
  return MK_ISA::float_cell(cell)->parameters(static_cast<int>(inputs));
}

template <class T>
uint64_t layer(Draw& draw, int threads, Dtype dtype) {
  Arrays arrays(draw);
  const int64_t number = draw.from(0, layer_kinds - 1);
  LayerCall call{static_cast<LayerKind>(number), dtype, draw.coin(), 1e-3, 0, 0, 0, 0, threads};
  call.models = draw.from(0, 3), call.batch = draw.coin() ? draw.from(0, 40) : draw.from(200, 600);
  call.in = draw.from(0, 9), call.out = draw.from(0, 19);
  const int64_t E = call.models, B = call.batch, I = call.in, O = call.out, gates = gates_of(call.kind) * I;
  const int64_t P = parameters_of(layer_cells[number].cell, I) - gates;
  const T* const x = arrays.uniform<T>(E * B * I, 0.5, 1.5);
  const T* const weight = arrays.uniform<T>(E * O * P, 0.1, 0.9);
  const T* const gate = arrays.uniform<T>(E * gates, 0.1, 0.9);
  const T* const dy = arrays.uniform<T>(E * B * O, -1, 1);
  T* const y = arrays.output<T>(E * B * O);
  layer_forward(call, x, weight, gate, y, arrays.workspace(layer_forward_workspace(call)));
  T *const dx = arrays.output<T>(E * B * I), *const dweight = arrays.output<T>(E * O * P);
  T* const dgate = arrays.output<T>(E * gates);
  layer_backward(call, dy, x, weight, gate, dx, dweight, dgate, arrays.workspace(layer_backward_workspace(call)));
  return arrays.digest();
}

template <class T>
uint64_t recurrent(Draw& draw, int threads, Dtype dtype) {
  Arrays arrays(draw);
  const int64_t number = draw.from(0, recurrent_kinds - 1);
  RecurrentCall call{static_cast<RecurrentKind>(number), dtype, 1e-3, 0, 0, 0, threads};
  call.models = draw.from(0, 3), call.steps = draw.from(0, 6), call.batch = draw.from(0, 300);
  const int64_t E = call.models, T_B = call.steps * call.batch, B = call.batch;
  const int64_t P = parameters_of(recurrent_cells[number].cell, 2);
  const T* const l = arrays.uniform<T>(E * T_B, 0.5, 1.5);
  const T* const weight = arrays.uniform<T>(E * P, 0.1, 0.6);
  const T* const initial = arrays.uniform<T>(E * B, 0.5, 1.5);
  const T* const dh = arrays.uniform<T>(E * T_B, -1, 1);
  T* const h = arrays.output<T>(E * T_B);
  recurrent_forward(call, l, weight, initial, h);
  T *const dl = arrays.output<T>(E * T_B), *const dweight = arrays.output<T>(E * P);
  T* const dinitial = arrays.output<T>(E * B);
  recurrent_backward(call, dh, l, weight, initial, h, dl, dweight, dinitial,
                     arrays.workspace(recurrent_backward_workspace(call)));
  return arrays.digest();
}

template <class T>
uint64_t elementwise(Draw& draw, int threads, Dtype dtype) {
  Arrays arrays(draw);
  const int64_t E = draw.from(0, 3), count = draw.coin() ? draw.from(0, 40) : draw.from(8000, 20000);
  const T *const x = arrays.uniform<T>(E * count, -1.5, 1.5), *const dy = arrays.uniform<T>(E * count, -1, 1);
  T* const y = arrays.output<T>(E * count);
  clipped_reciprocal_forward(dtype, E * count, 10, x, y, threads);
  T* const dx = arrays.output<T>(E * count);
  clipped_reciprocal_backward(dtype, E * count, 10, dy, x, dx, threads);
  const int kind = static_cast<int>(draw.from(1, 3));
  if (count > 0) {  // of no numbers there is no mean
    T *const mean = arrays.output<T>(E), *const dweight = arrays.output<T>(E * count);
    discretisation_forward(dtype, kind, E, count, x, mean, arrays.workspace(discretisation_workspace(dtype, E, count)),
                           threads);
    discretisation_backward(dtype, kind, E, count, arrays.uniform<T>(E, -1, 1), x, dweight, threads);
  }
  for (int function = 0; function <= static_cast<int>(Elementary::gate_tanh); ++function) {
    const T* const positive = arrays.uniform<T>(count, 0.1, 3);
    elementary(dtype, static_cast<Elementary>(function), count, positive, positive, arrays.output<T>(count));
    // of any number, where some have no value
    T* const any = arrays.uniform<T>(count, -200, 200);
    for (int64_t k = 0; k + 3 < count; k += 7) any[k] = T(NAN), any[k + 1] = T(-INFINITY), any[k + 2] = T(-0.0);
    elementary(dtype, static_cast<Elementary>(function), count, any, any, arrays.filled<T>(count, T(0)));
  }
  return arrays.digest();
}

}  // namespace

uint64_t call_layer(Draw draw, int threads) {
  return draw.coin() ? layer<float>(draw, threads, Dtype::float32) : layer<double>(draw, threads, Dtype::float64);
}
uint64_t call_recurrent(Draw draw, int threads) {
  return draw.coin() ? recurrent<float>(draw, threads, Dtype::float32)
                     : recurrent<double>(draw, threads, Dtype::float64);
}
uint64_t call_elementwise(Draw draw, int threads) {
  return draw.coin() ? elementwise<float>(draw, threads, Dtype::float32)
                     : elementwise<double>(draw, threads, Dtype::float64);
}

}  // namespace mk
