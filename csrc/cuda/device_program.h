// Programs on the GPU: copies of their arrays, and launches.  Every failure of a CUDA call is a CudaError; no output of
// a failed call is read, so the caller's arrays then still hold the state before it.
#pragma once
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "trainers/nalm/program.h"

namespace mk {

struct CudaError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What keeps this machine from running CUDA kernels, or an empty string.
std::string cuda_problem();

// Memory of the device.
class DeviceBuffer {
 public:
  explicit DeviceBuffer(size_t bytes);
  ~DeviceBuffer();
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_;
};

// Evaluation sets by their address on the host: many runs share one.
using SharedSets = std::map<uint64_t, std::unique_ptr<DeviceBuffer>>;

class DeviceProgram {
 public:
  DeviceProgram(const Program& host, SharedSets& sets);
  ~DeviceProgram();
  DeviceProgram(const DeviceProgram&) = delete;
  DeviceProgram& operator=(const DeviceProgram&) = delete;

  void start();   // copies schedules and state to the device and launches iterations [first, last)
  void finish();  // waits, then copies the state back

 private:
  struct Copy {  // one array of the caller and its place on the device
    void* host;
    std::unique_ptr<DeviceBuffer> device;
  };
  template <class T>
  void place(T* Program::* field, size_t elements, size_t element_bytes, std::vector<Copy>* group);
  void place_sets(const uint64_t* Program::* field, int64_t elements_each, SharedSets& sets);

  const Program& host_;
  Program device_;
  void* stream_ = nullptr;
  std::vector<Copy> fixed_, state_, schedules_;
};

}  // namespace mk
