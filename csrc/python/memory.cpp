// Binds common/memory.h: a Memory is a buffer of bytes that goes back to be kept when the last tensor on it has gone.
#include "common/memory.h"

#include "python/bind.h"

namespace {

class Memory {
 public:
  explicit Memory(int64_t bytes) : asked_(bytes), block_(mk::take_block(bytes)) {
    if (!block_.address) throw std::bad_alloc();
  }
  ~Memory() { mk::return_block(block_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  py::buffer_info buffer() const {
    return {block_.address, 1, py::format_descriptor<uint8_t>::format(), 1, {asked_}, {1}};
  }

 private:
  int64_t asked_;
  mk::Block block_;
};

}  // namespace

void bind_memory(py::module_& m) {
  py::class_<Memory>(m, "Memory", py::buffer_protocol()).def(py::init<int64_t>()).def_buffer(&Memory::buffer);
  m.def("release_memory", &mk::release_blocks);
  m.def("kept_memory", &mk::kept_bytes);
}
