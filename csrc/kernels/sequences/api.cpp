// The sequences of mathkernels.h: divides the work by shape, hands it to threads and to the instruction set in use.
#include "common/arena.h"
#include "common/parallel.h"
#include "kernels/attention/shape.h"
#include "kernels/attention/sums.h"
#include "kernels/call.h"
#include "mathkernels.h"

namespace mk {
namespace {

constexpr int64_t worth_threads = 65536;       // multiply-adds; a call with fewer costs less than starting a team
constexpr int64_t weights_of_cache = 1 << 20;  // bytes of weights that stay in a core's own cache
constexpr int64_t partial_bytes = 1 << 24;     // of partial sums that are in memory at once, where threads need no more
constexpr int64_t usual_small_batch = 8;       // rows up to which lanes are units
constexpr int64_t short_steps = 2;             // steps up to which they are with up to most_small_batch
constexpr int64_t input_rows = 16;             // rows whose products with x are made together, where they are few
constexpr int64_t worth_waiting = 65536;       // multiply-adds of a step; fewer cost less than members who wait
constexpr int64_t panel_bytes = 1 << 23;       // of keys and values that a thread's panels of a block take
constexpr int64_t worth_packing = 2;           // times that weights are read; laying them out anew costs less up to it

int64_t at_least_1(int64_t value) { return value < 1 ? 1 : value; }
int64_t parts(int64_t value, int64_t size) { return (value + size - 1) / size; }
int64_t gates(const SequenceCall& call) { return call.kind == SequenceKind::lstm ? 4 : 3; }

// The units of a tile: four to six, whichever leaves least padding; the sums of a GRU fit the registers with four.
int64_t tile_of(const SequenceCall& call) {
  int64_t best = 4;
  if (call.kind == SequenceKind::lstm)
    for (int64_t tile = 5; tile <= 6; ++tile)
      if (rounded_up(call.hidden, tile) <= rounded_up(call.hidden, best) + call.hidden / 64) best = tile;
  return best;
}

// Steps whose rows are at most so many together.
int64_t steps_of(const SequenceCall& call, int64_t rows) {
  const int64_t steps = at_least_1(rows / at_least_1(call.batch));
  return steps < call.steps ? steps : at_least_1(call.steps);
}

enum class Pass { forward, backward };

// All that bits depend on follows from the shape of one direction of one model.
SequenceShape shape_of(const SequenceCall& call, const InstructionSet& set, Pass pass, bool dx) {
  SequenceShape s{};
  s.models = call.models;
  s.directions = call.directions;
  s.steps = call.steps;
  s.batch = call.batch;
  s.inputs = call.inputs;
  s.hidden = call.hidden;
  s.token_ids = call.token_ids;
  s.bfloat16 = call.bfloat16;
  s.attention = call.attention;
  s.fed = call.attention.fed();
  s.x_inputs = call.inputs - s.fed;
  s.x_columns = call.token_ids ? 0 : s.x_inputs;
  s.columns = s.x_columns + s.fed;
  const int64_t unit = call.bfloat16 ? 2 : 1;
  s.depth_x = rounded_up(s.columns, unit);
  s.depth_h = rounded_up(call.hidden, unit);
  s.pairs = call.bfloat16 && bfloat16_pairs(set);
  // small panels where large ones would leave a second thread without work
  const bool single = call.dtype == Dtype::float32;
  s.panel_rows = call.batch <= 32 ? 16 : single ? large_panel<float> : large_panel<double>;
  s.panels = parts(call.batch, s.panel_rows);
  const int64_t size = single ? sizeof(float) : sizeof(double);
  const int64_t weights = gates(call) * call.hidden * (s.columns + call.hidden) * size;
  // at least two blocks, for two threads; in forward, where rows do not meet, of all sequences together
  const int64_t panels = pass == Pass::forward ? s.panels * call.models * call.directions : s.panels;
  const int64_t shared = weights > weights_of_cache ? at_least_1(panels / 2) : 1;
  s.block_panels = shared < most_block_panels ? shared : most_block_panels;
  if (call.attention.is_there()) {
    const AttentionShape& a = call.attention;
    const int64_t fit =
        at_least_1(panel_bytes / at_least_1(a.source * (a.query() + a.context()) * s.panel_rows * size));
    if (fit < s.block_panels) s.block_panels = fit;
  }
  s.blocks = parts(s.panels, s.block_panels);
  s.group_blocks = at_least_1(parts(s.blocks, most_groups));
  s.groups = parts(s.blocks, s.group_blocks);
  s.chunk_steps = at_least_1(gradient_rows / (s.block_panels * s.panel_rows));
  s.tile = tile_of(call);
  s.tiles = parts(call.hidden, s.tile);
  s.item_directions = dx ? call.directions : 1;
  const int64_t most = call.steps <= short_steps ? most_small_batch : usual_small_batch;
  s.small_batch = !call.attention.is_there() && call.batch <= most;
  if (s.small_batch) {
    s.unit_tiles = parts(call.hidden, 16);
    s.input_steps = steps_of(call, input_rows);
    s.entry_steps = steps_of(call, gradient_rows);
    s.packs_h = call.steps > worth_packing;
    s.packs_x = parts(call.steps, s.input_steps) > worth_packing;
  }
  return s;
}

int team(const SequenceCall& call) {
  const auto product = [](double a, int64_t b) { return a * static_cast<double>(b); };  // of integers it may overflow
  const double rows = product(product(static_cast<double>(call.models * call.directions), call.steps), call.batch);
  const AttentionShape& a = call.attention;
  const double attended = product(rows, a.source * (a.query() + a.context()));
  const double work =
      attended + product(product(rows, call.hidden), gates(call) * (call.hidden + (call.token_ids ? 0 : call.inputs)));
  return work < worth_threads || call.threads < 1 ? 1 : call.threads;
}
// How many of them get an item.
int64_t workers(const SequenceCall& call, int64_t items) {
  const int64_t threads = team(call);
  return items < threads ? items : threads;
}

template <class T>
const SequenceKernels<T>& sequence_of(const SequenceCall& call, const InstructionSet& set) {
  return *kernels<T>(set).sequence[static_cast<int>(call.kind)];
}

template <class T>
struct ForwardSizes {
  int64_t packed, attention, scratch;  // bytes, `scratch` of a thread
  ForwardSizes(const SequenceKernels<T>& kernels, const SequenceShape& s)
      : packed(s.models * s.directions * kernels.packed_forward(s) * int64_t{sizeof(T)}),
        attention(s.models * kernels.packed_attention(s) * int64_t{sizeof(T)}),
        scratch(kernels.forward_scratch(s)) {}
  int64_t total(const SequenceCall& call, const SequenceShape& s) const {
    return alignment + rounded_up(packed, alignment) + rounded_up(attention, alignment) +
           workers(call, s.models * s.directions * s.blocks) * scratch;
  }
};

// Not all partial sums are in memory at once: the items of backward are taken in waves, of as many as threads need or a
// fixed memory holds.  Groups are added in their order all the same.
template <class T>
struct BackwardSizes {
  int64_t packed, partial, scratch;  // bytes, `partial` of one
  int64_t attention, score_partial;
  int64_t slots;  // partial sums in memory, a whole number of items with one direction or two
  int64_t threads;
  BackwardSizes(const SequenceKernels<T>& kernels, const SequenceCall& call, const SequenceShape& s)
      : packed(s.models * s.directions * kernels.packed_backward(s) * int64_t{sizeof(T)}),
        partial(kernels.partial(s) * int64_t{sizeof(T)}),
        scratch(kernels.backward_scratch(s)),
        attention(s.models * kernels.packed_attention(s) * int64_t{sizeof(T)}),
        score_partial(s.attention.additive ? s.models * s.panels * s.attention.query() * int64_t{sizeof(T)} : 0),
        slots(s.models * s.directions * s.groups),
        threads(workers(call, slots)) {
    const int64_t needed = threads * s.directions,
                  fit = partial_bytes / at_least_1(partial) / s.directions * s.directions;
    const int64_t wanted = needed > fit ? needed : fit;
    if (wanted < slots) slots = wanted;
  }
  int64_t total() const {
    return alignment + rounded_up(packed, alignment) + rounded_up(slots * partial, alignment) +
           rounded_up(attention, alignment) + rounded_up(score_partial, alignment) + threads * scratch;
  }
};

// How the sequences of a small batch are taken: one after the other by all threads, or several at once by a thread
// each.
template <class T>
struct SmallBatchTeams {
  int64_t sequences, shared, own;
  int threads;
  bool together;
  SmallBatchTeams(const SequenceCall& call, const SequenceShape& s, SequenceMemory memory, int64_t item_directions)
      : sequences(call.models * call.directions / item_directions),
        shared(memory.shared),
        own(memory.own),
        threads(team(call)),
        together(sequences < threads && s.batch * gates(call) * s.hidden * s.hidden >= worth_waiting) {
    if (!together) threads = static_cast<int>(workers(call, sequences));
  }
  int64_t total() const { return alignment + (together ? 1 : threads) * shared + threads * own; }

  void run(SequenceTeam<T>* work, const SequenceShape& s, const SequenceTensors<T>& t, void* workspace) const {
    Arena memory(workspace);
    char* const all_shared = memory.take<char>((together ? 1 : threads) * shared);
    char* const all_own = memory.take<char>(threads * own);
    Barrier barrier;
    const auto wait = [](void* at, int members) { static_cast<Barrier*>(at)->wait(members); };
    if (together)
      parallel_team(threads, [&](int number, int members) {
        for (int64_t n = 0; n < sequences; ++n)
          work(s, t, {n, number, members, all_shared, all_own + number * own, &barrier, wait});
      });
    else
      parallel_for(sequences, threads, [&](int worker, int64_t n) {
        work(s, t, {n, 0, 1, all_shared + worker * shared, all_own + worker * own, &barrier, wait});
      });
  }
};

template <class T>
void set_inputs(SequenceTensors<T>& t, const SequenceCall& call, const SequenceInputs& in) {
  t.x = call.token_ids ? nullptr : static_cast<const T*>(in.x);
  t.token_ids = call.token_ids ? static_cast<const int64_t*>(in.x) : nullptr;
  t.weight_ih = static_cast<const T*>(in.weight_ih);
  t.weight_hh = static_cast<const T*>(in.weight_hh);
  t.bias_ih = static_cast<const T*>(in.bias_ih);
  t.bias_hh = static_cast<const T*>(in.bias_hh);
  t.h0 = static_cast<const T*>(in.h0);
  t.c0 = static_cast<const T*>(in.c0);
  t.lengths = in.lengths;
}

template <class T>
AttentionTensors<T> attention_of(const DecoderTensors& d) {
  const auto in = [](const void* p) { return static_cast<const T*>(p); };
  const auto out = [](void* p) { return static_cast<T*>(p); };
  AttentionTensors<T> t{};
  t.keys = in(d.keys), t.values = in(d.values), t.feed0 = in(d.feed0);
  t.weight_query = in(d.weight_query), t.bias_query = in(d.bias_query), t.weight_score = in(d.weight_score);
  t.weight_output = in(d.weight_output), t.bias_output = in(d.bias_output);
  t.mask = static_cast<const uint8_t*>(d.mask);
  t.scale = static_cast<T>(d.scale);
  t.context = out(d.context), t.attentional = out(d.attentional), t.feed = out(d.feed), t.weights = out(d.weights);
  t.kept = out(d.kept), t.query = out(d.query);
  t.dcontext = in(d.dcontext), t.dattentional = in(d.dattentional), t.dfeed = in(d.dfeed), t.dweights = in(d.dweights);
  t.dkeys = out(d.dkeys), t.dvalues = out(d.dvalues), t.dfeed0 = out(d.dfeed0);
  t.dquery = out(d.dquery), t.doutput = out(d.doutput), t.dweight_score = out(d.dweight_score);
  return t;
}
// In backward what forward has returned is read.
template <class T>
void read_saved(AttentionTensors<T>& t) {
  t.saved_context = t.context, t.saved_attentional = t.attentional, t.saved_kept = t.kept, t.saved_query = t.query;
}

}  // namespace

int64_t sequence_forward_workspace(const SequenceCall& call) {
  return with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const InstructionSet& set = instruction_set();
    const SequenceKernels<T>& sequence = sequence_of<T>(call, set);
    const SequenceShape shape = shape_of(call, set, Pass::forward, false);
    if (shape.small_batch)
      return SmallBatchTeams<T>(call, shape, sequence.small_batch_forward_memory(shape), 1).total();
    return ForwardSizes<T>(sequence, shape).total(call, shape);
  });
}

void sequence_forward(const SequenceCall& call, const SequenceInputs& in, const SequenceOutputs& out, void* workspace,
                      const DecoderTensors* decoder) {
  with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const InstructionSet& set = instruction_set();
    const SequenceKernels<T>& sequence = sequence_of<T>(call, set);
    const SequenceShape shape = shape_of(call, set, Pass::forward, false);
    SequenceTensors<T> tensors{};
    set_inputs(tensors, call, in);
    tensors.y = static_cast<T*>(out.y);
    tensors.hn = static_cast<T*>(out.hn);
    tensors.cn = static_cast<T*>(out.cn);
    tensors.gates = static_cast<T*>(out.gates);
    tensors.cells = static_cast<T*>(out.cells);
    if (shape.small_batch)
      return SmallBatchTeams<T>(call, shape, sequence.small_batch_forward_memory(shape), 1)
          .run(sequence.small_batch_forward, shape, tensors, workspace);
    const ForwardSizes<T> sizes(sequence, shape);
    Arena memory(workspace);
    tensors.packed = memory.take<T>(sizes.packed, 1);
    AttentionTensors<T> attention{};
    if (decoder != nullptr) attention = attention_of<T>(*decoder);
    attention.packed = memory.take<T>(sizes.attention, 1);
    tensors.attention = &attention;
    const int threads = team(call);
    const int64_t sequences = shape.models * shape.directions;
    char* const scratch = memory.take<char>(workers(call, sequences * shape.blocks) * sizes.scratch);
    parallel_for(sequences * pack_pieces, threads,
                 [&](int, int64_t item) { sequence.pack_forward(shape, tensors, item, nullptr); });
    parallel_for(sequences * shape.blocks, threads, [&](int worker, int64_t item) {
      sequence.forward(shape, tensors, item, scratch + worker * sizes.scratch);
    });
  });
}

int64_t sequence_backward_workspace(const SequenceCall& call) {
  return with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const InstructionSet& set = instruction_set();
    const SequenceKernels<T>& sequence = sequence_of<T>(call, set);
    const SequenceShape shape = shape_of(call, set, Pass::backward, true);
    if (shape.small_batch)  // of single directions: enough for those that are taken together, too
      return SmallBatchTeams<T>(call, shape, sequence.small_batch_backward_memory(shape), 1).total();
    return BackwardSizes<T>(sequence, call, shape).total();
  });
}

void sequence_backward(const SequenceCall& call, const SequenceGradients& gradients, const SequenceInputs& in,
                       const SequenceSaved& saved, const SequenceInputGradients& out, void* workspace,
                       const DecoderTensors* decoder) {
  with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const InstructionSet& set = instruction_set();
    const SequenceKernels<T>& sequence = sequence_of<T>(call, set);
    const SequenceShape shape = shape_of(call, set, Pass::backward, out.dx != nullptr);
    SequenceTensors<T> tensors{};
    set_inputs(tensors, call, in);
    tensors.dy = static_cast<const T*>(gradients.dy);
    tensors.dhn = static_cast<const T*>(gradients.dhn);
    tensors.dcn = static_cast<const T*>(gradients.dcn);
    tensors.dcells = static_cast<const T*>(gradients.dcells);
    tensors.saved_y = static_cast<const T*>(saved.y);
    tensors.saved_gates = static_cast<const T*>(saved.gates);
    tensors.saved_cells = static_cast<const T*>(saved.cells);
    tensors.dx = static_cast<T*>(out.dx);
    tensors.dweight_ih = static_cast<T*>(out.dweight_ih);
    tensors.dweight_hh = static_cast<T*>(out.dweight_hh);
    tensors.dbias_ih = static_cast<T*>(out.dbias_ih);
    tensors.dbias_hh = static_cast<T*>(out.dbias_hh);
    tensors.dh0 = static_cast<T*>(out.dh0);
    tensors.dc0 = static_cast<T*>(out.dc0);
    if (shape.small_batch)
      return SmallBatchTeams<T>(call, shape, sequence.small_batch_backward_memory(shape), shape.item_directions)
          .run(sequence.small_batch_backward, shape, tensors, workspace);
    const BackwardSizes<T> sizes(sequence, call, shape);
    Arena memory(workspace);
    tensors.packed = memory.take<T>(sizes.packed, 1);
    tensors.partial = memory.take<T>(sizes.slots * sizes.partial, 1);
    AttentionTensors<T> attention{};
    if (decoder != nullptr) attention = attention_of<T>(*decoder);
    read_saved(attention);
    attention.packed = memory.take<T>(sizes.attention, 1);
    attention.score_partial = memory.take<T>(sizes.score_partial, 1);
    tensors.attention = &attention;
    char* const scratch = memory.take<char>(sizes.threads * sizes.scratch);
    const int threads = team(call);
    const bool finishes = out.dweight_ih != nullptr || out.dweight_hh != nullptr || out.dbias_ih != nullptr;
    parallel_for(shape.models * shape.directions * pack_pieces, threads,
                 [&](int, int64_t item) { sequence.pack_backward(shape, tensors, item, nullptr); });
    const int64_t items = shape.models * shape.directions / shape.item_directions * shape.groups;
    const int64_t at_once = finishes ? sizes.slots / shape.item_directions : items;  // nothing else needs partial sums
    for (int64_t first = 0; first < items; first += at_once) {
      const int64_t last = (first + at_once < items ? first + at_once : items) - 1;
      const int64_t pair = first / shape.groups, pairs = last / shape.groups + 1 - pair;
      tensors.first_item = first;
      tensors.items = last + 1 - first;
      tensors.first_sequence = pair * shape.item_directions;
      parallel_for(tensors.items, static_cast<int>(sizes.threads), [&](int worker, int64_t item) {
        sequence.backward(shape, tensors, first + item, scratch + worker * sizes.scratch);
      });
      if (finishes)
        parallel_for(pairs * shape.item_directions * pack_pieces, threads,
                     [&](int, int64_t item) { sequence.finish(shape, tensors, item, nullptr); });
    }
    if (attention.dweight_score != nullptr)
      add_panels(shape.models, shape.panels, shape.attention.query(), attention.score_partial, attention.dweight_score);
  });
}

}  // namespace mk
