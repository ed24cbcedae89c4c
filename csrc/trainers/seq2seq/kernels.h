// The table of one real type.
#pragma once
#include "trainers/seq2seq/output.h"
#include "trainers/seq2seq/sequence.h"
#include "trainers/seq2seq/update.h"

namespace mk::MK_ISA {

template <class T>
struct Seq2Seq {
  using P = Seq2SeqProgram;

  static void offsets(const P& p, Seq2SeqOffsets& out) { out = offsets_of(Sizes(p)); }
  static int64_t memory(const P& p) {
    const Sizes z(p);
    Arena m(nullptr);
    Packed<T>(z, m);
    return m.used() + z.blocks * SampleBlock<T>::bytes(z);
  }
  static int64_t scratch(const P& p) { return Scratch<T>(Sizes(p), nullptr).bytes; }

  static int64_t items(const P&, int phase, int64_t valid) {
    const int64_t blocks = (valid + S - 1) / S;
    if (phase == pack_weights || phase == update) return tensor_groups;
    return phase == Seq2SeqPhase::output ? blocks : 2 * blocks;
  }

  static void pack_item(const P& p, const Seq2SeqStep& step, int64_t item, void*) {
    pack_group(Team<T>(p, step), item);
  }
  static void encode_item(const P& p, const Seq2SeqStep& step, int64_t item, void*) {
    const Team<T> team(p, step);
    const int direction = static_cast<int>(item % 2);
    const SampleBlock<T> block = team.block(item / 2);
    const int64_t H = team.z.H;
    encode_block(team, item / 2, direction);
    if (p.batch_norm)
      block_statistics(H, 1, 0, last_states(team.z, block, direction), team.valid(item / 2), team.z.feature_row,
                       block.statistics[0] + direction * H);
  }
  static void decode_item(const P& p, const Seq2SeqStep& step, int64_t item, void* memory) {
    const Team<T> team(p, step);
    const Scratch<T> scratch(team.z, memory);
    const int direction = static_cast<int>(item % 2);
    const SampleBlock<T> block = team.block(item / 2);
    training_norm(team, 0, Normalisation<T>(scratch));
    decode_block(team, item / 2, direction, scratch);
    const int64_t H = team.z.H, first = direction * H;
    if (p.batch_norm)
      block_statistics(H, team.z.Tout, team.z.F * S, block.decoded + first * S, team.valid(item / 2),
                       team.z.feature_row, block.statistics[1] + first);
  }
  static void output_item(const P& p, const Seq2SeqStep& step, int64_t item, void* memory) {
    const Team<T> team(p, step);
    output_block(team, item, Scratch<T>(team.z, memory));
  }
  static void decode_back_item(const P& p, const Seq2SeqStep& step, int64_t item, void* memory) {
    const Team<T> team(p, step);
    decode_block_back(team, item / 2, static_cast<int>(item % 2), Scratch<T>(team.z, memory));
  }
  static void encode_back_item(const P& p, const Seq2SeqStep& step, int64_t item, void* memory) {
    const Team<T> team(p, step);
    encode_block_back(team, item / 2, static_cast<int>(item % 2), Scratch<T>(team.z, memory));
  }
  static void update_item(const P& p, const Seq2SeqStep& step, int64_t item, void* memory) {
    const Team<T> team(p, step);
    update_group(team, item, Scratch<T>(team.z, memory));
  }

  // The running statistics as the norms of evaluation.
  static void running_norm(const Team<T>& team, int n, const Scratch<T>& scratch) {
    const Normalisation<T> norm(scratch);
    const T* running = team.running(n);
    if (team.p.batch_norm)
      prepare_norm(team, n, running, running + team.z.feature_row, norm);
    else
      no_norm(team, norm);
  }

  // `packed` holds the model's weights; block number `index` of the samples is evaluated in scratch memory.
  static void evaluate(const P& p, int64_t model, int64_t index, const void* packed, void* memory) {
    const Sizes z(p);
    const Scratch<T> scratch(z, memory);
    const int64_t begin = index * S, left = p.samples - begin;
    const Seq2SeqStep step{model, begin, left < S ? left : S, const_cast<void*>(packed)};
    Team<T> team(p, step);
    team.blocks = scratch.block;
    for (int d = 0; d < 2; ++d) encode_block(team, 0, d);
    running_norm(team, 0, scratch);
    for (int d = 0; d < 2; ++d) decode_block(team, 0, d, scratch);
    running_norm(team, 1, scratch);
    score_block(team, index, scratch, team.block(0));
  }

  static constexpr Seq2SeqKernels kernels = {
      offsets,
      memory,
      scratch,
      items,
      {pack_item, encode_item, decode_item, output_item, decode_back_item, encode_back_item, update_item},
      evaluate};
};

}  // namespace mk::MK_ISA
