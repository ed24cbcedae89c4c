// The interface of mathkernels.h: divides the work by shape, hands it to threads and to the instruction set in use.
#include "mathkernels.h"

#include <cmath>

#include "common/isa.h"
#include "common/parallel.h"
#include "kernels/table.h"

namespace mk {

#define MK_DECLARE(isa)                        \
  namespace isa {                              \
  extern const Kernels<float> kernels_float;   \
  extern const Kernels<double> kernels_double; \
  }
MK_FOR_EACH_ISA(MK_DECLARE)
#undef MK_DECLARE

#define MK_FLOAT(isa) &isa::kernels_float,
#define MK_DOUBLE(isa) &isa::kernels_double,
template <>
const Kernels<float>& kernels<float>() {
  static constexpr const Kernels<float>* all[] = {MK_FOR_EACH_ISA(MK_FLOAT)};
  return *all[isa_current()];
}
template <>
const Kernels<double>& kernels<double>() {
  static constexpr const Kernels<double>* all[] = {MK_FOR_EACH_ISA(MK_DOUBLE)};
  return *all[isa_current()];
}
#undef MK_FLOAT
#undef MK_DOUBLE

namespace {

constexpr int64_t alignment = 64;
constexpr int64_t most_blocks = 64;      // bounds the memory for the blocks' sums at 64 times the parameters
constexpr int64_t worth_threads = 8192;  // a smaller count of weight applications costs less than starting a team

template <class F>
auto with_type(Dtype dtype, F&& f) {
  return dtype == Dtype::float32 ? f(float{}) : f(double{});
}

int64_t rounded_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

char* aligned(void* memory) {
  return reinterpret_cast<char*>(rounded_up(static_cast<int64_t>(reinterpret_cast<intptr_t>(memory)), alignment));
}

LayerShape shape_of(const LayerCall& call) {
  const int64_t rows = rounded_up(call.batch, chunk_rows);
  const int64_t block_rows = rounded_up((rows + most_blocks - 1) / most_blocks, chunk_rows);
  const int64_t blocks = call.batch > 0 ? (call.batch + block_rows - 1) / block_rows : 1;
  return {call.models, call.batch, call.in, call.out, blocks, block_rows};
}

int team(const LayerCall& call) {
  return call.models * call.batch * call.in * call.out < worth_threads || call.threads < 1 ? 1 : call.threads;
}

template <class T>
int64_t partial_bytes(const LayerCall& call, const LayerShape& shape, const LayerKernels<T>& layer) {
  const int64_t numbers = shape.models * shape.blocks * shape.out * layer.gradients(call.in);
  return rounded_up(numbers * int64_t{sizeof(T)}, alignment);
}

// The instruction set is read once per call: another thread may force a different one meanwhile.
template <class T>
const LayerKernels<T>& layer_of(const LayerCall& call) {
  return *kernels<T>().layer[static_cast<int>(call.kind)];
}

}  // namespace

int64_t layer_forward_workspace(const LayerCall& call) {
  return with_type(call.dtype,
                   [&](auto zero) { return alignment + team(call) * layer_of<decltype(zero)>(call).scratch(call.in); });
}

void layer_forward(const LayerCall& call, const void* x, const void* weight, const void* gate, void* y,
                   void* workspace) {
  with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const LayerKernels<T>& layer = layer_of<T>(call);
    const LayerShape shape = shape_of(call);
    LayerTensors<T> tensors{};
    tensors.x = static_cast<const T*>(x);
    tensors.weight = static_cast<const T*>(weight);
    tensors.gate = static_cast<const T*>(gate);
    tensors.y = static_cast<T*>(y);
    tensors.epsilon = static_cast<T>(call.epsilon);
    char* scratch = aligned(workspace);
    const int64_t bytes = layer.scratch(call.in);
    parallel_for(shape.models * shape.blocks, team(call), [&](int worker, int64_t item) {
      layer.forward[call.training ? 0 : 1](shape, tensors, item, scratch + worker * bytes);
    });
  });
}

int64_t layer_backward_workspace(const LayerCall& call) {
  return with_type(call.dtype, [&](auto zero) {
    const auto& layer = layer_of<decltype(zero)>(call);
    return layer_forward_workspace(call) + partial_bytes(call, shape_of(call), layer);
  });
}

void layer_backward(const LayerCall& call, const void* dy, const void* x, const void* weight, const void* gate,
                    void* dx, void* dweight, void* dgate, void* workspace) {
  with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const LayerKernels<T>& layer = layer_of<T>(call);
    const LayerShape shape = shape_of(call);
    char* memory = aligned(workspace);
    LayerTensors<T> tensors{};
    tensors.x = static_cast<const T*>(x);
    tensors.weight = static_cast<const T*>(weight);
    tensors.gate = static_cast<const T*>(gate);
    tensors.dy = static_cast<const T*>(dy);
    tensors.dx = static_cast<T*>(dx);
    tensors.dweight = static_cast<T*>(dweight);
    tensors.dgate = static_cast<T*>(dgate);
    tensors.partial = reinterpret_cast<T*>(memory);
    tensors.epsilon = static_cast<T>(call.epsilon);
    char* scratch = memory + partial_bytes(call, shape, layer);
    const int64_t bytes = layer.scratch(call.in);
    const int mode = call.training ? 0 : 1;
    parallel_for(shape.models * shape.blocks, team(call), [&](int worker, int64_t item) {
      layer.backward[mode](shape, tensors, item, scratch + worker * bytes);
    });
    if (shape.blocks > 1)
      parallel_for(shape.models, team(call), [&](int worker, int64_t model) {
        layer.finish[mode](shape, tensors, model, scratch + worker * bytes);
      });
  });
}

namespace {

RecurrentShape shape_of(const RecurrentCall& call) {
  const int64_t blocks = (call.batch + recurrent_rows - 1) / recurrent_rows;
  return {call.models, call.steps, call.batch, blocks > 0 ? blocks : 1};
}

int team(const RecurrentCall& call) {
  return call.models * call.steps * call.batch * 2 < worth_threads || call.threads < 1 ? 1 : call.threads;
}

template <class T>
const RecurrentKernels<T>& unit_of(const RecurrentCall& call) {
  return *kernels<T>().recurrent[static_cast<int>(call.kind)];
}

template <class T>
int64_t partial_bytes(const RecurrentShape& shape, const RecurrentKernels<T>& unit) {
  return rounded_up(shape.models * shape.blocks * unit.gradients * int64_t{sizeof(T)}, alignment);
}

}  // namespace

void recurrent_forward(const RecurrentCall& call, const void* l, const void* weight, const void* initial, void* h) {
  with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const RecurrentKernels<T>& unit = unit_of<T>(call);
    const RecurrentShape shape = shape_of(call);
    RecurrentTensors<T> tensors{};
    tensors.l = static_cast<const T*>(l);
    tensors.weight = static_cast<const T*>(weight);
    tensors.initial = static_cast<const T*>(initial);
    tensors.h = static_cast<T*>(h);
    tensors.epsilon = static_cast<T>(call.epsilon);
    parallel_for(shape.models * shape.blocks, team(call),
                 [&](int, int64_t item) { unit.forward(shape, tensors, item, nullptr); });
  });
}

int64_t recurrent_backward_workspace(const RecurrentCall& call) {
  return with_type(call.dtype, [&](auto zero) {
    const auto& unit = unit_of<decltype(zero)>(call);
    return alignment + team(call) * unit.scratch + partial_bytes(shape_of(call), unit);
  });
}

void recurrent_backward(const RecurrentCall& call, const void* dh, const void* l, const void* weight,
                        const void* initial, const void* h, void* dl, void* dweight, void* dinitial, void* workspace) {
  with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const RecurrentKernels<T>& unit = unit_of<T>(call);
    const RecurrentShape shape = shape_of(call);
    char* memory = aligned(workspace);
    RecurrentTensors<T> tensors{};
    tensors.l = static_cast<const T*>(l);
    tensors.weight = static_cast<const T*>(weight);
    tensors.initial = static_cast<const T*>(initial);
    tensors.states = static_cast<const T*>(h);
    tensors.dstates = static_cast<const T*>(dh);
    tensors.dl = static_cast<T*>(dl);
    tensors.dweight = static_cast<T*>(dweight);
    tensors.dinitial = static_cast<T*>(dinitial);
    tensors.partial = reinterpret_cast<T*>(memory);
    tensors.epsilon = static_cast<T>(call.epsilon);
    char* scratch = memory + partial_bytes(shape, unit);
    parallel_for(shape.models * shape.blocks, team(call), [&](int worker, int64_t item) {
      unit.backward(shape, tensors, item, scratch + worker * unit.scratch);
    });
    if (shape.blocks > 1)
      parallel_for(shape.models, team(call), [&](int, int64_t model) { unit.finish(shape, tensors, model, nullptr); });
  });
}

void clipped_reciprocal_forward(Dtype dtype, int64_t count, double limit, const void* x, void* y, int threads) {
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    auto* const kernel = kernels<T>().clipped_reciprocal_forward;
    parallel_for((count + block_values - 1) / block_values, threads, [&](int, int64_t block) {
      const int64_t first = block * block_values, left = count - first;
      kernel(left < block_values ? left : block_values, static_cast<T>(limit), static_cast<T>(1 / limit),
             static_cast<const T*>(x) + first, static_cast<T*>(y) + first);
    });
  });
}

void clipped_reciprocal_backward(Dtype dtype, int64_t count, double limit, const void* dy, const void* x, void* dx,
                                 int threads) {
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    auto* const kernel = kernels<T>().clipped_reciprocal_backward;
    parallel_for((count + block_values - 1) / block_values, threads, [&](int, int64_t block) {
      const int64_t first = block * block_values, left = count - first;
      kernel(left < block_values ? left : block_values, static_cast<T>(1 / limit), static_cast<const T*>(dy) + first,
             static_cast<const T*>(x) + first, static_cast<T*>(dx) + first);
    });
  });
}

int64_t discretisation_workspace(Dtype dtype, int64_t models, int64_t count) {
  const int64_t size = dtype == Dtype::float32 ? sizeof(float) : sizeof(double);
  return alignment + models * ((count + block_values - 1) / block_values) * size;
}

void discretisation_forward(Dtype dtype, int kind, int64_t models, int64_t count, const void* weight, void* y,
                            void* workspace, int threads) {
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    auto* const kernel = kernels<T>().discretisation_sum;
    const int64_t blocks = (count + block_values - 1) / block_values;
    T* sums = reinterpret_cast<T*>(aligned(workspace));
    parallel_for(models * blocks, models * count < worth_threads ? 1 : threads, [&](int, int64_t item) {
      const int64_t model = item / blocks, first = item % blocks * block_values, left = count - first;
      const T* values = static_cast<const T*>(weight) + model * count + first;
      sums[item] = kernel(kind, left < block_values ? left : block_values, values);
    });
    for (int64_t model = 0; model < models; ++model) {
      T total = 0;
      for (int64_t block = 0; block < blocks; ++block) total += sums[model * blocks + block];
      static_cast<T*>(y)[model] = count > 0 ? total / static_cast<T>(count) : static_cast<T>(NAN);
    }
  });
}

void discretisation_backward(Dtype dtype, int kind, int64_t models, int64_t count, const void* dy, const void* weight,
                             void* dweight, int threads) {
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    auto* const kernel = kernels<T>().discretisation_backward;
    const int64_t blocks = (count + block_values - 1) / block_values;
    parallel_for(models * blocks, models * count < worth_threads ? 1 : threads, [&](int, int64_t item) {
      const int64_t model = item / blocks, first = item % blocks * block_values, left = count - first;
      const T scale = static_cast<const T*>(dy)[model] / static_cast<T>(count);
      kernel(kind, left < block_values ? left : block_values, scale,
             static_cast<const T*>(weight) + model * count + first, static_cast<T*>(dweight) + model * count + first);
    });
  });
}

void elementary(Dtype dtype, Elementary function, int64_t count, const void* x, const void* w, void* y) {
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    kernels<T>().elementary(static_cast<int>(function), count, static_cast<const T*>(x), static_cast<const T*>(w),
                            static_cast<T*>(y));
  });
}

}  // namespace mk
