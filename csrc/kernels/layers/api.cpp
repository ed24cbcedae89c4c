// The interface of mathkernels.h: divides the work by shape, hands it to threads and to the instruction set in use.
#include "mathkernels.h"

#include <cmath>

#include "common/arena.h"
#include "common/parallel.h"
#include "kernels/call.h"

namespace mk {

namespace {

constexpr int64_t most_blocks = 64;      // bounds the memory for the blocks' sums at 64 times the parameters
constexpr int64_t worth_threads = 8192;  // a smaller count of weight applications costs less than starting a team

LayerShape shape_of(const LayerCall& call) {
  const int64_t rows = rounded_up(call.batch, chunk_rows);
  const int64_t block_rows = rounded_up((rows + most_blocks - 1) / most_blocks, chunk_rows);
  const int64_t blocks = call.batch > 0 ? (call.batch + block_rows - 1) / block_rows : 1;
  return {call.models, call.batch, call.in, call.out, blocks, block_rows};
}

// Threads for `items` of work of `count` weight applications in all; a product of sizes may be beyond int64_t.
int team(int threads, double count, int64_t items) {
  if (count < worth_threads || threads < 1 || items < 1) return 1;
  return static_cast<int>(threads < items ? threads : items);
}
int team(const LayerCall& call, const LayerShape& shape) {
  const double rows = static_cast<double>(call.models) * static_cast<double>(call.batch);
  return team(call.threads, rows * static_cast<double>(call.in) * static_cast<double>(call.out),
              shape.models * shape.blocks);
}

// Whether there is nothing to write: then sizes that are left may be anything, and no model is looked at.
bool nothing_forward(const LayerCall& call) { return call.models == 0 || call.batch == 0 || call.out == 0; }
template <class T>
bool nothing_backward(const LayerCall& call, const LayerKernels<T>& layer) {
  const bool dx = call.batch > 0 && call.in > 0, dweight = call.out > 0 && layer.gradients(call.in) > 0;
  return call.models == 0 || !(dx || dweight || (call.in > 0 && layer.gates > 0));
}

// What backward takes of its workspace: the blocks' sums, and scratch for each thread.
template <class T>
struct BackwardMemory {
  T* partial;
  char* scratch;
  int64_t bytes;
  BackwardMemory(void* workspace, int64_t partial_numbers, int64_t scratch_bytes) {
    Arena arena(workspace);
    partial = arena.take<T>(partial_numbers);
    scratch = arena.take<char>(scratch_bytes);
    bytes = alignment + arena.used();
  }
};

template <class T>
BackwardMemory<T> backward_memory(const LayerCall& call, const LayerShape& shape, const LayerKernels<T>& layer,
                                  void* workspace) {
  return {workspace, shape.models * shape.blocks * shape.out * layer.gradients(call.in),
          team(call, shape) * layer.backward_scratch(shape)};
}

template <class T>
const LayerKernels<T>& layer_of(const LayerCall& call) {
  return *kernels<T>(instruction_set()).layer[static_cast<int>(call.kind)];
}

}  // namespace

int64_t layer_forward_workspace(const LayerCall& call) {
  if (nothing_forward(call)) return alignment;
  return with_type(call.dtype, [&](auto zero) {
    const LayerShape shape = shape_of(call);
    return alignment + team(call, shape) * layer_of<decltype(zero)>(call).forward_scratch(shape);
  });
}

void layer_forward(const LayerCall& call, const void* x, const void* weight, const void* gate, void* y,
                   void* workspace) {
  if (nothing_forward(call)) return;
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
    const int64_t bytes = layer.forward_scratch(shape);
    char* const scratch = Arena(workspace).take<char>(team(call, shape) * bytes);
    parallel_for(shape.models * shape.blocks, team(call, shape), [&](int worker, int64_t item) {
      layer.forward[call.training ? 0 : 1](shape, tensors, item, scratch + worker * bytes);
    });
  });
}

int64_t layer_backward_workspace(const LayerCall& call) {
  return with_type(call.dtype, [&](auto zero) {
    const auto& layer = layer_of<decltype(zero)>(call);
    if (nothing_backward(call, layer)) return alignment;
    const LayerShape shape = shape_of(call);
    return backward_memory(call, shape, layer, nullptr).bytes;
  });
}

void layer_backward(const LayerCall& call, const void* dy, const void* x, const void* weight, const void* gate,
                    void* dx, void* dweight, void* dgate, void* workspace) {
  with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const LayerKernels<T>& layer = layer_of<T>(call);
    if (nothing_backward(call, layer)) return;
    const LayerShape shape = shape_of(call);
    const auto memory = backward_memory(call, shape, layer, workspace);
    LayerTensors<T> tensors{};
    tensors.x = static_cast<const T*>(x);
    tensors.weight = static_cast<const T*>(weight);
    tensors.gate = static_cast<const T*>(gate);
    tensors.dy = static_cast<const T*>(dy);
    tensors.dx = static_cast<T*>(dx);
    tensors.dweight = static_cast<T*>(dweight);
    tensors.dgate = static_cast<T*>(dgate);
    tensors.partial = memory.partial;
    tensors.epsilon = static_cast<T>(call.epsilon);
    const int64_t bytes = layer.backward_scratch(shape);
    const int mode = call.training ? 0 : 1;
    parallel_for(shape.models * shape.blocks, team(call, shape), [&](int worker, int64_t item) {
      layer.backward[mode](shape, tensors, item, memory.scratch + worker * bytes);
    });
    if (shape.blocks > 1)
      parallel_for(shape.models, team(call, shape), [&](int worker, int64_t model) {
        layer.finish[mode](shape, tensors, model, memory.scratch + worker * bytes);
      });
  });
}

namespace {

int64_t blocks_of(int64_t count) { return count / block_values + (count % block_values > 0 ? 1 : 0); }

RecurrentShape shape_of(const RecurrentCall& call) {
  const int64_t blocks = (call.batch + recurrent_rows - 1) / recurrent_rows;
  const int64_t steps = call.batch > 0 ? call.steps : 0;  // of no rows none is worth a look
  return {call.models, steps, call.batch, blocks > 0 ? blocks : 1};
}

int team(const RecurrentCall& call, const RecurrentShape& shape) {
  const double rows = static_cast<double>(call.models) * static_cast<double>(call.batch);
  return team(call.threads, rows * static_cast<double>(shape.steps) * 2, shape.models * shape.blocks);
}

template <class T>
const RecurrentKernels<T>& unit_of(const RecurrentCall& call) {
  return *kernels<T>(instruction_set()).recurrent[static_cast<int>(call.kind)];
}

template <class T>
BackwardMemory<T> backward_memory(const RecurrentCall& call, const RecurrentShape& shape,
                                  const RecurrentKernels<T>& unit, void* workspace) {
  return {workspace, shape.models * shape.blocks * unit.gradients, team(call, shape) * unit.scratch};
}

}  // namespace

void recurrent_forward(const RecurrentCall& call, const void* l, const void* weight, const void* initial, void* h) {
  if (call.steps == 0 || call.batch == 0) return;
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
    parallel_for(shape.models * shape.blocks, team(call, shape),
                 [&](int, int64_t item) { unit.forward(shape, tensors, item, nullptr); });
  });
}

int64_t recurrent_backward_workspace(const RecurrentCall& call) {
  return with_type(call.dtype, [&](auto zero) {
    const auto& unit = unit_of<decltype(zero)>(call);
    const RecurrentShape shape = shape_of(call);
    return backward_memory(call, shape, unit, nullptr).bytes;
  });
}

void recurrent_backward(const RecurrentCall& call, const void* dh, const void* l, const void* weight,
                        const void* initial, const void* h, void* dl, void* dweight, void* dinitial, void* workspace) {
  with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const RecurrentKernels<T>& unit = unit_of<T>(call);
    const RecurrentShape shape = shape_of(call);
    const auto memory = backward_memory(call, shape, unit, workspace);
    RecurrentTensors<T> tensors{};
    tensors.l = static_cast<const T*>(l);
    tensors.weight = static_cast<const T*>(weight);
    tensors.initial = static_cast<const T*>(initial);
    tensors.states = static_cast<const T*>(h);
    tensors.dstates = static_cast<const T*>(dh);
    tensors.dl = static_cast<T*>(dl);
    tensors.dweight = static_cast<T*>(dweight);
    tensors.dinitial = static_cast<T*>(dinitial);
    tensors.partial = memory.partial;
    tensors.epsilon = static_cast<T>(call.epsilon);
    parallel_for(shape.models * shape.blocks, team(call, shape), [&](int worker, int64_t item) {
      unit.backward(shape, tensors, item, memory.scratch + worker * unit.scratch);
    });
    if (shape.blocks > 1)
      parallel_for(shape.models, team(call, shape),
                   [&](int, int64_t model) { unit.finish(shape, tensors, model, nullptr); });
  });
}

void clipped_reciprocal_forward(Dtype dtype, int64_t count, double limit, const void* x, void* y, int threads) {
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    auto* const kernel = kernels<T>(instruction_set()).clipped_reciprocal_forward;
    parallel_for(blocks_of(count), threads, [&](int, int64_t block) {
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
    auto* const kernel = kernels<T>(instruction_set()).clipped_reciprocal_backward;
    parallel_for(blocks_of(count), threads, [&](int, int64_t block) {
      const int64_t first = block * block_values, left = count - first;
      kernel(left < block_values ? left : block_values, static_cast<T>(1 / limit), static_cast<const T*>(dy) + first,
             static_cast<const T*>(x) + first, static_cast<T*>(dx) + first);
    });
  });
}

int64_t discretisation_workspace(Dtype dtype, int64_t models, int64_t count) {
  const int64_t size = dtype == Dtype::float32 ? sizeof(float) : sizeof(double);
  return alignment + models * (blocks_of(count)) * size;
}

void discretisation_forward(Dtype dtype, int kind, int64_t models, int64_t count, const void* weight, void* y,
                            void* workspace, int threads) {
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    auto* const kernel = kernels<T>(instruction_set()).discretisation_sum;
    const int64_t blocks = blocks_of(count);
    T* const sums = Arena(workspace).take<T>(models * blocks);
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
    auto* const kernel = kernels<T>(instruction_set()).discretisation_backward;
    const int64_t blocks = blocks_of(count);
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
    kernels<T>(instruction_set())
        .elementary(function, count, static_cast<const T*>(x), static_cast<const T*>(w), static_cast<T*>(y));
  });
}

}  // namespace mk
