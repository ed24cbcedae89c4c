// A fiber of the emulator: a stack behind a guard page, and where on it execution stands.  Internal to emulator.cpp.
//
// The sanitizers are told of every change of stacks.  The thread sanitizer takes fibers for threads between which a
// change of stacks orders nothing, so that it finds whatever only the emulator's schedule orders; emulator.cpp itself
// is then compiled without it, but with MK_THREAD_SANITIZER.
#pragma once
#include <sys/mman.h>
#include <ucontext.h>

#include <cstddef>
#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(MK_THREAD_SANITIZER)
#include <sanitizer/tsan_interface.h>
#endif

namespace mk::emulator {

// Fills memory with 0xff, a NaN as float and as double, unseen by the thread sanitizer.
inline void poison(void* memory, size_t bytes) {
  auto* byte = static_cast<volatile unsigned char*>(memory);
  for (; bytes > 0 && reinterpret_cast<uintptr_t>(byte) % sizeof(uint64_t) != 0; --bytes) *byte++ = 0xff;
  auto* word = reinterpret_cast<volatile uint64_t*>(byte);
  for (; bytes >= sizeof(uint64_t); bytes -= sizeof(uint64_t)) *word++ = ~uint64_t{0};
  byte = reinterpret_cast<volatile unsigned char*>(word);
  for (; bytes > 0; --bytes) *byte++ = 0xff;
}

// What one thread did before release(x) comes before what others do after acquire(x).
inline void release([[maybe_unused]] void* at) {
#if defined(MK_THREAD_SANITIZER)
  __tsan_release(at);
#endif
}
inline void acquire([[maybe_unused]] void* at) {
#if defined(MK_THREAD_SANITIZER)
  __tsan_acquire(at);
#endif
}

class Fiber {
 public:
  static constexpr size_t stack_bytes = 512 * 1024, page = 4096;

  Fiber() {
    void* memory = mmap(nullptr, stack_bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(memory, page, PROT_NONE);
    stack_ = static_cast<char*>(memory) + page;
#if defined(MK_THREAD_SANITIZER)
    thread_ = __tsan_create_fiber(0);
#endif
  }
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Puts the fiber at the start of a function; the uppermost bytes of its stack are poisoned.
  void start(void (*enter)(), size_t poisoned) {
    poison(stack_ + stack_bytes - poisoned, poisoned);
    getcontext(&context_);
    context_.uc_stack.ss_sp = stack_;
    context_.uc_stack.ss_size = stack_bytes;
    context_.uc_link = nullptr;
    makecontext(&context_, enter, 0);
    fake_stack_ = nullptr;
  }

  // From the scheduler into the fiber, until it leaves.
  void run() {
#if defined(MK_THREAD_SANITIZER)
    scheduler_thread_ = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(thread_, __tsan_switch_to_fiber_no_sync);
#endif
    before_switch(&scheduler_fake_stack_, stack_, stack_bytes);
    swapcontext(&scheduler_, &context_);
    after_switch(scheduler_fake_stack_, nullptr, nullptr);
  }

  // The first thing that a started fiber does.
  static void entered() { after_switch(nullptr, &scheduler_stack_, &scheduler_bytes_); }

  // From the fiber back to the scheduler; the last time its fake stack is given up.
  void leave(bool last) {
    before_switch(last ? nullptr : &fake_stack_, scheduler_stack_, scheduler_bytes_);
#if defined(MK_THREAD_SANITIZER)
    __tsan_switch_to_fiber(scheduler_thread_, __tsan_switch_to_fiber_no_sync);
#endif
    swapcontext(&context_, &scheduler_);
    after_switch(fake_stack_, nullptr, nullptr);
  }

 private:
  // The stack that is left keeps the address sanitizer's state in `keep`.
  static void before_switch([[maybe_unused]] void** keep, [[maybe_unused]] const void* stack,
                            [[maybe_unused]] size_t size) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(keep, stack, size);
#endif
  }
  static void after_switch([[maybe_unused]] void* kept, [[maybe_unused]] const void** stack,
                           [[maybe_unused]] size_t* size) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(kept, stack, size);
#endif
  }

  char* stack_;  // above a guard page
  ucontext_t context_;
  void* fake_stack_ = nullptr;
  [[maybe_unused]] void* thread_ = nullptr;

  static inline ucontext_t scheduler_;
  static inline void* scheduler_fake_stack_;
  static inline const void* scheduler_stack_;  // the caller's, as the first switch reports it
  static inline size_t scheduler_bytes_;
  [[maybe_unused]] static inline void* scheduler_thread_;
};

}  // namespace mk::emulator
