// Divides the training of sequence-to-sequence models over threads.
//
// The threads form groups, and each group trains its models one after another.  Within a group the phases of a step are
// divided by items, and all wait for one another between phases.  A group has no more threads than a phase has items.
// Denormal numbers are taken as 0: late in a training most gradients are, and made an epoch four times as long.
#include "common/arena.h"
#include "common/denormals.h"
#include "common/dispatch.h"
#include "common/parallel.h"
#include "trainers/seq2seq/program.h"

namespace mk {

namespace {

const Seq2SeqKernels& kernels_of(const Seq2SeqProgram& p) { return *instruction_set().seq2seq[p.dtype == 0 ? 0 : 1]; }

constexpr int most_teams = 256;

// How `threads` threads divide: `groups` groups, the first ones larger by one where they do not divide evenly.
struct Groups {
  int threads, groups;

  Groups(const Seq2SeqProgram& p, int available) {
    const int64_t batch = p.batch < p.samples ? p.batch : p.samples;
    const int64_t items = 2 * ((batch + block_samples - 1) / block_samples), models = p.models;
    threads = available < 1 ? 1 : available;
    int64_t most = (threads + items - 1) / items;
    if (most > models) most = models;
    if (most > most_teams) most = most_teams;
    groups = static_cast<int>(most < 1 ? 1 : most);
    if (threads > groups * items) threads = static_cast<int>(groups * items);
  }
  int of(int member) const { return static_cast<int>(int64_t{member} * groups / threads); }
  int first(int group) const { return static_cast<int>((int64_t{group} * threads + groups - 1) / groups); }
};

struct Training {
  const Seq2SeqProgram& p;
  const Seq2SeqKernels& kernel;
  Barrier* barrier;
  int member, members;  // of the group
  void* scratch;

  void phase(int which, const Seq2SeqStep& step) const {
    const int64_t items = kernel.items(p, which, step.valid);
    // the same thread takes the same items in every phase, because their memory is in its cache; backward begins with
    // those that forward ended with
    const int64_t begin = items * member / members, end = items * (member + 1) / members;
    for (int64_t k = begin; k < end; ++k) {
      const bool back = which == decode_back || which == encode_back;
      kernel.phase[which](p, step, back ? begin + end - 1 - k : k, scratch);
    }
    barrier->wait(members);
  }

  void model(int64_t index, void* memory) const {
    Seq2SeqStep step{index, 0, 0, memory};
    phase(pack_weights, step);
    for (int64_t minibatch = p.first; minibatch < p.last; ++minibatch) {
      step.begin = minibatch * p.batch;
      const int64_t left = p.samples - step.begin;
      step.valid = left < p.batch ? left : p.batch;
      for (int which = encode; which < seq2seq_phases; ++which) phase(which, step);
    }
  }
};

}  // namespace

void seq2seq_offsets(const Seq2SeqProgram& p, Seq2SeqOffsets& out) { kernels_of(p).offsets(p, out); }

int64_t seq2seq_train_bytes(const Seq2SeqProgram& p, int threads) {
  const Seq2SeqKernels& kernel = kernels_of(p);
  const Groups groups(p, threads);
  return alignment + groups.groups * kernel.memory(p) + groups.threads * kernel.scratch(p);
}

void seq2seq_train(const Seq2SeqProgram& p, int threads, void* memory) {
  const Seq2SeqKernels& kernel = kernels_of(p);
  const Groups asked(p, threads);
  const int64_t each = kernel.memory(p), scratch_bytes = kernel.scratch(p);
  Arena arena(memory);
  char* const base = arena.take<char>(asked.groups * each);
  char* const scratch = arena.take<char>(asked.threads * scratch_bytes);
  Barrier barriers[most_teams];
  parallel_team(asked.threads, [&](int member, int members) {
    const FlushedDenormals flushed;
    Groups groups = asked;
    if (members < groups.threads) groups = Groups(p, members);
    const int group = groups.of(member), first = groups.first(group);
    const Training training{
        p, kernel, &barriers[group], member - first, groups.first(group + 1) - first, scratch + member * scratch_bytes};
    for (int64_t model = group; model < p.models; model += groups.groups) training.model(model, base + group * each);
  });
}

int64_t seq2seq_evaluate_bytes(const Seq2SeqProgram& p, int threads) {
  const Seq2SeqKernels& kernel = kernels_of(p);
  return alignment + p.models * kernel.memory(p) + (threads < 1 ? 1 : threads) * kernel.scratch(p);
}

void seq2seq_evaluate(const Seq2SeqProgram& p, int threads, void* memory) {
  const Seq2SeqKernels& kernel = kernels_of(p);
  const int64_t each = kernel.memory(p), scratch_bytes = kernel.scratch(p);
  const int64_t blocks = (p.samples + block_samples - 1) / block_samples;
  Arena arena(memory);
  char* const base = arena.take<char>(p.models * each);
  char* const scratch = arena.take<char>((threads < 1 ? 1 : threads) * scratch_bytes);
  parallel_for(p.models, threads, [&](int worker, int64_t model) {
    const FlushedDenormals flushed;
    const Seq2SeqStep step{model, 0, 0, base + model * each};
    for (int64_t item = 0; item < kernel.items(p, pack_weights, 0); ++item)
      kernel.phase[pack_weights](p, step, item, scratch + worker * scratch_bytes);
  });
  parallel_for(p.models * blocks, threads, [&](int worker, int64_t item) {
    const FlushedDenormals flushed;
    const int64_t model = item / blocks;
    kernel.evaluate(p, model, item % blocks, base + model * each, scratch + worker * scratch_bytes);
  });
}

}  // namespace mk
