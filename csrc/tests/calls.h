// What the drivers of whole calls share: sizes and numbers drawn at random, and memory of exactly the size asked for.
//
// calls.cpp has the program, calls_layers.cpp and the others have one family of calls each.  They are compiled with a
// sanitizer, together with the kernels of one instruction set (python_tests/test_sanitizers.py).
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <type_traits>
#include <vector>

namespace mk {

// The finaliser of splitmix64 over a counter.
class Draw {
 public:
  explicit Draw(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u) {}
  uint64_t word() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  int64_t from(int64_t least, int64_t most) {  // both included
    return least + static_cast<int64_t>(word() % static_cast<uint64_t>(most - least + 1));
  }
  bool coin() { return word() % 2 == 0; }
  double uniform(double low, double high) { return low + (high - low) * static_cast<double>(word() >> 11) * 0x1p-53; }

 private:
  uint64_t state_;
};

// The arrays of one call, each an allocation of its own that ends where the array does.
class Arrays {
 public:
  explicit Arrays(Draw& draw) : draw_(draw) {}
  Arrays(const Arrays&) = delete;
  Arrays& operator=(const Arrays&) = delete;
  ~Arrays() {
    for (void* block : blocks_) std::free(block);
  }

  template <class T>
  T* filled(int64_t count, T value) {
    T* const array = make<T>(count);
    for (int64_t k = 0; k < count; ++k) array[k] = value;
    return array;
  }
  template <class T>
  T* uniform(int64_t count, double low, double high) {
    T* const array = make<T>(count);
    for (int64_t k = 0; k < count; ++k) array[k] = static_cast<T>(draw_.uniform(low, high));
    return array;
  }
  template <class T>
  T* whole(int64_t count, int64_t least, int64_t most) {
    T* const array = make<T>(count);
    for (int64_t k = 0; k < count; ++k) array[k] = static_cast<T>(draw_.from(least, most));
    return array;
  }
  // What a call shall write, all of it: numbers that are not.
  template <class T>
  T* output(int64_t count) {
    T* const array = filled<T>(count, static_cast<T>(NAN));
    outputs_.push_back({reinterpret_cast<const char*>(array), count * int64_t{sizeof(T)}, sizeof(T)});
    return array;
  }
  // Scratch memory, which may begin anywhere.
  void* workspace(int64_t bytes) { return make<char>(bytes + 1) + 1; }
  // The same at a line of the cache.
  void* aligned(int64_t bytes) {
    void* block = nullptr;
    if (posix_memalign(&block, 64, static_cast<size_t>(bytes > 0 ? bytes : 1)) != 0) std::abort();
    blocks_.push_back(block);
    return block;
  }

  // Of the bits of all outputs; what has not been written ends the program.
  uint64_t digest() const {
    uint64_t hash = 14695981039346656037u;
    for (const Output& o : outputs_) {
      for (int64_t k = 0; k < o.bytes; ++k) hash = (hash ^ static_cast<unsigned char>(o.bytes_of[k])) * 1099511628211u;
      const bool bad = o.size == sizeof(float) ? has_nan<float>(o) : has_nan<double>(o);
      if (!bad) continue;
      std::fprintf(stderr, "an output holds what is not a number\n");
      std::exit(3);
    }
    return hash;
  }

 private:
  struct Output {
    const char* bytes_of;
    int64_t bytes;
    size_t size;
  };
  template <class T>
  T* make(int64_t count) {
    void* const block = std::malloc(static_cast<size_t>(count) * sizeof(T));
    blocks_.push_back(block);
    return static_cast<T*>(block);
  }
  template <class T>
  static bool has_nan(const Output& o) {
    const T* const values = reinterpret_cast<const T*>(o.bytes_of);
    for (int64_t k = 0; k < o.bytes / int64_t{sizeof(T)}; ++k)
      if (std::isnan(values[k])) return true;
    return false;
  }

  Draw& draw_;
  std::vector<void*> blocks_;
  std::vector<Output> outputs_;
};

// One call of a family at random sizes, forward and backward: the digest of its outputs.
using RandomCall = uint64_t(Draw, int threads);
RandomCall call_layer, call_recurrent, call_elementwise, call_sequence, call_attention, call_decoder, call_ensemble,
    call_seq2seq;

}  // namespace mk
