#include "cuda/device_program.h"

#include <cuda_runtime.h>

#include "cuda/kernels.h"

namespace mk {
namespace {

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  throw CudaError(std::string("CUDA: ") + what + " failed: " + cudaGetErrorString(status));
}

void to_device(const DeviceBuffer& device, const void* host, cudaStream_t stream) {
  check(cudaMemcpyAsync(device.data(), host, device.bytes(), cudaMemcpyHostToDevice, stream), "a copy to the device");
}

TrainKernel* kernel_of(const Program& p) {
  switch (static_cast<Cell>(p.cell)) {
    case Cell::nmu:
      return cuda::nmu_kernel(p);
    case Cell::real_npu:
      return cuda::real_npu_kernel(p);
    default:
      return nullptr;
  }
}

}  // namespace

std::string cuda_problem() {
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status != cudaSuccess) return cudaGetErrorString(status);
  return devices == 0 ? "no CUDA device" : "";
}

DeviceBuffer::DeviceBuffer(size_t bytes) : bytes_(bytes) { check(cudaMalloc(&data_, bytes), "an allocation"); }
DeviceBuffer::~DeviceBuffer() { cudaFree(data_); }

// The device's program gets the address of a new buffer; `group` remembers what to copy.
template <class T>
void DeviceProgram::place(T* Program::* field, size_t elements, size_t element_bytes, std::vector<Copy>* group) {
  auto buffer = std::make_unique<DeviceBuffer>(elements * element_bytes);
  device_.*field = static_cast<T*>(buffer->data());
  group->push_back({const_cast<void*>(static_cast<const void*>(host_.*field)), std::move(buffer)});
}

// Copies the sets that an array of addresses names, and the array with the device's addresses.
void DeviceProgram::place_sets(const uint64_t* Program::* field, int64_t elements_each, SharedSets& sets) {
  std::vector<uint64_t> addresses(static_cast<size_t>(host_.tiles * tile_models));
  for (int64_t tile = 0; tile < host_.tiles; ++tile)
    for (int64_t at = tile * tile_models; at < tile * tile_models + host_.models[tile]; ++at) {
      const uint64_t address = (host_.*field)[at];
      auto& set = sets[address];
      if (set == nullptr) {
        set = std::make_unique<DeviceBuffer>(static_cast<size_t>(elements_each) * sizeof(float));
        to_device(*set, reinterpret_cast<const void*>(address), nullptr);
      }
      addresses[static_cast<size_t>(at)] = reinterpret_cast<uint64_t>(set->data());
    }
  auto buffer = std::make_unique<DeviceBuffer>(addresses.size() * sizeof(uint64_t));
  to_device(*buffer, addresses.data(), nullptr);
  device_.*field = static_cast<const uint64_t*>(buffer->data());
  fixed_.push_back({nullptr, std::move(buffer)});
}

DeviceProgram::DeviceProgram(const Program& host, SharedSets& sets) : host_(host), device_(host) {
  if (host.dtype != 0 || kernel_of(host) == nullptr || host.inputs > cuda_max_inputs || host.distribution != 0 ||
      host.criterion != 0 || host.slot_avoid != nullptr)
    throw CudaError("CUDA: no kernel for this program");
  const auto models = static_cast<size_t>(host.tiles * tile_models), inputs = static_cast<size_t>(host.inputs);
  const auto parameters = models * static_cast<size_t>(host.parameters);
  place(&Program::models, static_cast<size_t>(host.tiles), sizeof(int32_t), &fixed_);
  place(&Program::slot, models, sizeof(int32_t), &fixed_);
  place(&Program::slot_seed, models, sizeof(uint64_t), &fixed_);
  place(&Program::slot_anchor, models * inputs, sizeof(uint32_t), &fixed_);
  for (const auto field : {&Program::scale, &Program::offset, &Program::negative})
    place(field, models * inputs, sizeof(float), &fixed_);
  place(&Program::subset, models * 4, sizeof(int32_t), &fixed_);
  place(&Program::least, models, sizeof(float), &fixed_);
  for (const Copy& copy : fixed_) to_device(*copy.device, copy.host, nullptr);
  place_sets(&Program::valid_inputs, host.valid_count * host.inputs, sets);
  place_sets(&Program::valid_target, host.valid_count, sets);
  place_sets(&Program::test_inputs, host.test_count * host.inputs, sets);
  place_sets(&Program::test_target, host.test_count, sets);
  for (const auto field : {&Program::parameter, &Program::first_moment, &Program::second_moment, &Program::best})
    place(field, parameters, sizeof(float), &state_);
  place(&Program::best_valid, models, sizeof(double), &state_);
  place(&Program::best_row, models, sizeof(int32_t), &state_);
  place(&Program::rows, models * static_cast<size_t>(host.row_capacity) * row_columns, sizeof(double), &state_);
  check(cudaDeviceSynchronize(), "a copy to the device");
  cudaStream_t stream;
  check(cudaStreamCreate(&stream), "making a stream");
  stream_ = stream;
}

DeviceProgram::~DeviceProgram() {
  if (stream_ != nullptr) cudaStreamDestroy(static_cast<cudaStream_t>(stream_));
}

void DeviceProgram::start() {
  const auto stream = static_cast<cudaStream_t>(stream_);
  device_.first = host_.first;
  device_.last = host_.last;
  if (device_.first == device_.last) return;
  schedules_.clear();
  const auto span = static_cast<size_t>(host_.last - host_.first);
  for (const auto field : {&Program::step, &Program::correction, &Program::norm})
    place(field, span, sizeof(float), &schedules_);
  place(&Program::penalty, span * static_cast<size_t>(host_.groups), sizeof(float), &schedules_);
  for (const auto* group : {&schedules_, &state_})
    for (const Copy& copy : *group) to_device(*copy.device, copy.host, stream);
  int device = 0, processors = 0;
  check(cudaGetDevice(&device), "asking for the device");
  check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device), "asking for the processors");
  // few models: one warp to a block, so that they spread over the processors; the results are the same
  const int64_t warps = host_.tiles * tile_models;
  const int threads = warps > int64_t{32} * processors ? cuda_block_threads : 32;
  const auto blocks = static_cast<unsigned>((warps * 32 + threads - 1) / threads);
  void* arguments[] = {&device_};
  check(cudaLaunchKernel(reinterpret_cast<const void*>(kernel_of(host_)), dim3(blocks),
                         dim3(static_cast<unsigned>(threads)), arguments, 0, stream),
        "the launch");
}

void DeviceProgram::finish() {
  if (device_.first == device_.last) return;
  const auto stream = static_cast<cudaStream_t>(stream_);
  check(cudaStreamSynchronize(stream), "training");
  for (const Copy& copy : state_)
    check(cudaMemcpy(copy.host, copy.device->data(), copy.device->bytes(), cudaMemcpyDeviceToHost),
          "a copy from the device");
}

}  // namespace mk
