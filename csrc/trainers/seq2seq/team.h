// A minibatch of one model in a team's memory.
#pragma once
#include "trainers/seq2seq/memory.h"

namespace mk::MK_ISA {

template <class T>
struct Team {
  const Seq2SeqProgram& p;
  const Seq2SeqStep& step;
  const Sizes z;
  const Seq2SeqOffsets o;
  Packed<T> packed;
  char* blocks;
  const int64_t block_bytes;

  Team(const Seq2SeqProgram& program, const Seq2SeqStep& s) : Team(program, s, Arena(s.memory)) {}

  T* parameter() const { return static_cast<T*>(p.parameter) + step.model * o.count; }
  T* running(int n) const { return static_cast<T*>(p.running) + (step.model * 2 + n) * 2 * z.feature_row; }
  SampleBlock<T> block(int64_t b) const {
    Arena m(blocks + b * block_bytes);
    return SampleBlock<T>(z, m);
  }
  // Where block b has what the first block has at `place`.
  template <class U>
  const U* in_block(int64_t b, const U* place) const {
    return reinterpret_cast<const U*>(reinterpret_cast<const char*>(place) + b * block_bytes);
  }
  int64_t used_blocks() const { return (step.valid + S - 1) / S; }
  int64_t valid(int64_t b) const { return step.valid - b * S < S ? step.valid - b * S : S; }
  // The row of inputs and targets of sample s of a block.
  int64_t row(int64_t b, int64_t s) const {
    const int64_t at = step.begin + b * S + s;
    return p.order ? p.order[step.model * p.samples + at] : at;
  }

 private:
  Team(const Seq2SeqProgram& program, const Seq2SeqStep& s, Arena m)
      : p(program),
        step(s),
        z(program),
        o(offsets_of(z)),
        packed(z, m),
        blocks(static_cast<char*>(s.memory) + m.used()),
        block_bytes(SampleBlock<T>::bytes(z)) {}
};

// 1 in the lanes of samples that exist, 0 after them.
template <class T>
struct Present {
  using V = Pack<T>;
  int64_t valid;
  MK_INLINE V operator()(int64_t s) const {
    constexpr int W = Number<V>::width;
    if (s + W <= valid) return splat<V>(T(1));
    V index;
    for (int lane = 0; lane < W; ++lane) index.raw[lane] = static_cast<T>(lane);
    return select(index < splat<V>(static_cast<T>(valid - s)), splat<V>(T(1)), splat<V>(T(0)));
  }
};

}  // namespace mk::MK_ISA
