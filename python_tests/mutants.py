"""Defects to be planted into the sources, each with a test that has to fail of it.

`check_mutants.py` plants them one by one into copies, and runs the tests on what comes of it.
"""

from __future__ import annotations

from dataclasses import dataclass

NMU, NALU = "kernels/layers/nmu.cpp", "kernels/layers/nalu.cpp"
LSTM, GRU = "kernels/sequences/lstm.cpp", "kernels/sequences/gru.cpp"
SEQ2SEQ = ("trainers/seq2seq/kernels_float.cpp", "trainers/seq2seq/kernels_double.cpp")
ANY = ("trainers/nalm/train_any.cpp", "trainers/nalm/cells_float.cpp", "trainers/nalm/cells_double.cpp")

LAYER = "test_layers.py::test_float64_equals_the_reference"
SEQUENCE = "test_sequence_kernels.py::test_float64_equals_a_plain_loop"
SEQ2SEQ_GRADIENTS = "test_seq2seq.py::test_gradients_are_the_references"
ENSEMBLE = "test_ensemble.py::test_a_run_equals_the_plain_loop"
ATTENTION = ("kernels/attention/attention.cpp",)
DECODER = "test_attention_ops.py::test_results_and_gradients_are_those_of_the_reference"
KEPT = "test_memory_holders.py::test_what_nobody_holds_any_more_is_kept"


@dataclass(frozen=True)
class Mutant:
    """One text of one file, exchanged for another.

    Attributes:
        file: from the root of the repository.
        units: the files of csrc that are compiled anew, enough for the tests; none for Python.
        test: what has to fail; `only` narrows it down, as pytest's -k.
    """

    file: str
    text: str
    replacement: str
    test: str
    only: str = ""
    units: tuple[str, ...] = ()


MUTANTS = {
    # products
    "a product that leaves out its last step": Mutant(
        "csrc/common/matmul.h",
        "for (int64_t k = 0; k < depth; ++k) {",
        "for (int64_t k = 0; k + 1 < depth; ++k) {",
        SEQUENCE,
        "lstm and plain",
        (LSTM,),
    ),
    "a product that forgets what it is added to": Mutant(
        "csrc/common/matmul.h",
        "      block.load(place);\n",
        "      block.start([](int) { return T(0); });\n",
        SEQUENCE,
        "gru and plain",
        (GRU,),
    ),
    "a product of few rows that takes the first row for all": Mutant(
        "csrc/kernels/sequences/small_batch.h",
        "return values[r][k];",
        "return values[0][k];",
        SEQUENCE,
        "lstm and plain and 35",
        (LSTM,),
    ),
    "a register block of outputs that is not the one asked for": Mutant(
        "csrc/kernels/sequences/products.h",
        "return product<T, rows, packs, 5 * scale, Step>;",
        "return product<T, rows, packs, 4 * scale, Step>;",
        SEQUENCE,
        "lstm and plain",
        (LSTM,),
    ),
    # lanes
    "a sum over half of the lanes": Mutant(
        "csrc/common/vec.h",
        "return lane_sum(low + high);",
        "return lane_sum(low + low);",
        LAYER,
        "nmu",
        (NMU,),
    ),
    "columns of a sum that are left out": Mutant(
        "csrc/kernels/layers/layer_loop.h",
        "for (int64_t half = sets / 2; half > 0; half /= 2)",
        "for (int64_t half = sets / 4; half > 0; half /= 2)",
        LAYER,
        "nmu",
        (NMU,),
    ),
    "samples of a batch in the wrong columns": Mutant(
        "csrc/trainers/nalm/train.h",
        "for (int s = first * width; s < batch; s += columns) {",
        "for (int s = first * width; s < batch; s += 2 * columns) {",
        "test_ensemble.py::test_float32_takes_the_steps_of_float64_on_every_instruction_set",
        "",
        ("trainers/nalm/train_nmu.cpp",),
    ),
    # masks
    "a mask that takes a lane too many": Mutant(
        "csrc/kernels/layers/recurrent.cpp",
        "const auto present = index < splat<V>(static_cast<T>(block.lanes(row)));",
        "const auto present = index <= splat<V>(static_cast<T>(block.lanes(row)));",
        "test_recurrent.py::test_float64_equals_the_reference",
        "nac",
        ("kernels/layers/recurrent.cpp",),
    ),
    "a mask of rows that end a step later": Mutant(
        "csrc/kernels/sequences/layout.h",
        "const bool is_valid = r < used && step < length_of(",
        "const bool is_valid = r < used && step <= length_of(",
        SEQUENCE,
        "lstm and lengths",
        (LSTM,),
    ),
    "samples that are not there and count": Mutant(
        "csrc/trainers/seq2seq/team.h",
        "splat<V>(static_cast<T>(valid - s))",
        "splat<V>(static_cast<T>(valid - s + 1))",
        SEQ2SEQ_GRADIENTS,
        "",
        SEQ2SEQ,
    ),
    # tails of packs
    "a part of a pack without its last lane": Mutant(
        "csrc/kernels/sequences/rows.h",
        "  for (int64_t lane = 0; lane < left; ++lane)\n"
        "    __builtin_memcpy(reinterpret_cast<char*>(&v) + lane * int64_t{sizeof(Real<V>)}, p + lane",
        "  for (int64_t lane = 0; lane + 1 < left; ++lane)\n"
        "    __builtin_memcpy(reinterpret_cast<char*>(&v) + lane * int64_t{sizeof(Real<V>)}, p + lane",
        SEQUENCE,
        "gru and plain",
        (GRU,),
    ),
    "a sum without the last number behind the packs": Mutant(
        "csrc/kernels/layers/discretisation.cpp",
        "k + lane < count",
        "k + lane + 1 < count",
        "test_discretisation.py::test_float32_is_no_worse_than_torch_on_every_instruction_set",
        "",
        ("kernels/layers/discretisation.cpp",),
    ),
    "a tail that stays as it was": Mutant(
        "csrc/kernels/layers/clipped_reciprocal.cpp",
        "for (; k < count; ++k) dx[k] = reciprocal_slope",
        "for (; k + 1 < count; ++k) dx[k] = reciprocal_slope",
        "test_clipped_reciprocal.py::test_float32_is_no_worse_than_torch_on_every_instruction_set",
        "",
        ("kernels/layers/clipped_reciprocal.cpp",),
    ),
    # transposes
    "a transpose that leaves out a column": Mutant(
        "csrc/common/transpose.h",
        "for (; c < wide; ++c)\n      for (int64_t k = r; k < r + 4; ++k) put(k, c);",
        "for (; c + 1 < wide; ++c)\n      for (int64_t k = r; k < r + 4; ++k) put(k, c);",
        LAYER,
        "nmu",
        (NMU,),
    ),
    "a block of four whose rows change places": Mutant(
        "csrc/common/transpose.h",
        "ab_low, cd_low, 2, 3, 6, 7)",
        "ab_low, cd_low, 2, 3, 7, 6)",
        LAYER,
        "nmu",
        (NMU,),
    ),
    "a block of eight whose halves change places": Mutant(
        "csrc/common/transpose.h",
        "_mm256_permute2f128_ps(a[k], a[k + 4], 0x31)",
        "_mm256_permute2f128_ps(a[k], a[k + 4], 0x13)",
        "test_sequence_kernels.py::test_float32_errs_at_most_twice_as_much_as_a_plain_loop",
        "lstm and plain",
        (LSTM,),
    ),
    # moments of optimisers
    "a second moment of the gradient itself": Mutant(
        "csrc/cells/optimiser.h",
        "v = fma(beta2, v, decay2 * dp * dp);",
        "v = fma(beta2, v, decay2 * abs(dp));",
        ENSEMBLE,
        "nmu-no-ramp",
        ANY,
    ),
    "a first moment that decays by the other's rate": Mutant(
        "csrc/cells/optimiser.h",
        "    m = fma(decay1, dp - m, m);\n    v = fma(decay2, dp * dp - v, v);",
        "    m = fma(decay2, dp - m, m);\n    v = fma(decay2, dp * dp - v, v);",
        "test_seq2seq.py::test_twenty_updates_and_more_are_the_references",
        "",
        SEQ2SEQ,
    ),
    "a momentum of the gradient": Mutant(
        "csrc/cells/optimiser.h",
        "m = fma(momentum, m, dp);",
        "m = fma(momentum, dp, m);",
        ENSEMBLE,
        "nmu-sgd-momentum",
        ANY,
    ),
    "a limit of the gradient that comes too early": Mutant(
        "csrc/trainers/nalm/update.h",
        "select(ratio > constant<V>(1), constant<V>(1), ratio)",
        "select(ratio > constant<V>(2), constant<V>(1), ratio)",
        ENSEMBLE,
        "nmru-10",
        ANY,
    ),
    # shares of work
    "a last block of rows that nobody takes": Mutant(
        "csrc/kernels/layers/api.cpp",
        "(call.batch + block_rows - 1) / block_rows : 1;",
        "(call.batch + block_rows - 2) / block_rows : 1;",
        LAYER,
        "nmu",
        ("kernels/layers/api.cpp",),
    ),
    "items that no member of a team takes": Mutant(
        "csrc/trainers/seq2seq/api.cpp",
        "end = items * (member + 1) / members;",
        "end = items * (member + 1) / members - member;",
        "test_seq2seq.py::test_bits_do_not_depend_on_the_number_of_threads",
        "",
        ("trainers/seq2seq/api.cpp",),
    ),
    "tiles of units that no member takes": Mutant(
        "csrc/kernels/sequences/small_batch.h",
        "end(count * (member + 1) / members) {}",
        "end((count - 1) * (member + 1) / members) {}",
        SEQUENCE,
        "gru and plain and 35",
        (GRU,),
    ),
    "units whose gradients nobody adds up": Mutant(
        "csrc/kernels/sequences/finish.h",
        "last = (piece + 1) * s.hidden / pack_pieces;",
        "last = (piece + 1) * (s.hidden - 1) / pack_pieces;",
        SEQUENCE,
        "gru and plain",
        (GRU,),
    ),
    "blocks of rows that are counted without the last": Mutant(
        "csrc/kernels/sequences/api.cpp",
        "s.panels = parts(call.batch, s.panel_rows);",
        "s.panels = at_least_1(call.batch / s.panel_rows);",
        SEQUENCE,
        "gru and plain",
        ("kernels/sequences/api.cpp",),
    ),
    # backward formulas
    "a slope of an NMU without its one": Mutant(
        "csrc/cells/nmu.h",
        "g[i] = fma(others, x[i] - constant<V>(1), g[i]);",
        "g[i] = fma(others, x[i], g[i]);",
        LAYER,
        "nmu",
        (NMU,),
    ),
    "a clamp that lets gradients through": Mutant(
        "csrc/cells/nau.h",
        "select(p[i] <= constant<V>(1), g[i], constant<V>(0))",
        "select(p[i] <= constant<V>(2), g[i], constant<V>(0))",
        LAYER,
        "nau",
        ("kernels/layers/nau.cpp",),
    ),
    "a forget gate with the slope of the input gate": Mutant(
        "csrc/cells/lstm.h",
        "dsums[1] = dc * before * (f * (one - f));",
        "dsums[1] = dc * before * (i * (one - i));",
        SEQUENCE,
        "lstm and plain",
        (LSTM,),
    ),
    "a reset gate that forgets its product": Mutant(
        "csrc/cells/gru.h",
        "dsums[1] = dsums[3] * kept[3] * (r * (one - r));",
        "dsums[1] = dsums[3] * (r * (one - r));",
        SEQUENCE,
        "gru and plain",
        (GRU,),
    ),
    # dispatch tables
    "the formula of training in evaluation": Mutant(
        "csrc/kernels/layers/layer_loop.h",
        "second = modes ? Mode::evaluation : Mode::training;",
        "second = modes ? Mode::training : Mode::training;",
        LAYER,
        "nru-evaluation",
        ("kernels/layers/nru.cpp",),
    ),
    "the trainer of another cell": Mutant(
        "csrc/trainers/nalm/table.cpp",
        "      return train_nmu(p);",
        "      return train_nau(p);",
        "test_ensemble.py::test_float32_takes_the_steps_of_float64_on_every_instruction_set",
        "",
        ("trainers/nalm/table.cpp",),
    ),
    # the random stream
    "a stream of other numbers": Mutant(
        "csrc/common/random.h",
        "x = (x ^ (x >> 15)) + key.key1;",
        "x = (x ^ (x >> 14)) + key.key1;",
        ENSEMBLE,
        "nmu-no-ramp",
        ANY,
    ),
    "an iteration that draws what the one before drew": Mutant(
        "csrc/common/random.h",
        "(iteration + 1) * 0x9e3779b97f4a7c15u);",
        "(iteration | 1) * 0x9e3779b97f4a7c15u);",
        ENSEMBLE,
        "nmu-no-ramp",
        ANY,
    ),
    # sequence-to-sequence models
    "deviations that are not squared together": Mutant(
        "csrc/trainers/seq2seq/norm.h",
        "squares = squares + fma(weight(b) * d, d, V::load(from + row + f));",
        "squares = squares + V::load(from + row + f);",
        SEQ2SEQ_GRADIENTS,
        "",
        SEQ2SEQ,
    ),
    "gradients of the first block alone": Mutant(
        "csrc/trainers/seq2seq/update.h",
        "for (int64_t b = 1; b < blocks; ++b) g = g +",
        "for (int64_t b = 2; b < blocks; ++b) g = g +",
        SEQ2SEQ_GRADIENTS,
        "",
        SEQ2SEQ,
    ),
    # attention
    "scores without the last number of a query": Mutant(
        "csrc/kernels/attention/tiles.h",
        "for (int64_t k = 0; k < depth; ++k, place += U * lanes, factor += rows) {",
        "for (int64_t k = 0; k + 1 < depth; ++k, place += U * lanes, factor += rows) {",
        DECODER,
        units=ATTENTION,
    ),
    "a masked place that takes part": Mutant(
        "csrc/cells/attention.h",
        "const V e = select(takes(s), exp(load(s) - largest), zero);",
        "const V e = exp(load(s) - largest);",
        DECODER,
        units=ATTENTION,
    ),
    "what was fed without its gradient": Mutant(
        "csrc/kernels/attention/decoder_backward.h",
        "(V::load(arriving + k) + gradient).store(arriving + k);",
        "V::load(arriving + k).store(arriving + k);",
        DECODER,
        units=ATTENTION,
    ),
    "gradients of keys from the last steps alone": Mutant(
        "csrc/kernels/attention/core_backward.h",
        "write(part, head, p, size, tile, flushed, out);",
        "write(part, head, p, size, tile, false, out);",
        DECODER,
        units=ATTENTION,
    ),
    "a query that is not scaled": Mutant(
        "csrc/kernels/attention/rows.h",
        "in[k] * t.attention.scale",
        "in[k]",
        "test_attention_ops.py::test_attention_alone",
        units=ATTENTION,
    ),
    # kept memory
    # (counts that are not to be relied on switch the keeping off: nothing is shared then, and nothing kept)
    "a storage whose holders in Python are not counted": Mutant(
        "mathkernels/ops/_memory.py",
        "return _use_count(self.identity) <= self.alone[0] and self.holders() == self.alone",
        "return _use_count(self.identity) <= self.alone[0]",
        KEPT,
    ),
    "a storage whose holders in torch are not counted": Mutant(
        "mathkernels/ops/_memory.py",
        "return _use_count(self.identity) <= self.alone[0] and self.holders() == self.alone",
        "return self.holders()[1] == self.alone[1]",
        KEPT,
    ),
    "a storage that is taken although it is held": Mutant(
        "mathkernels/ops/_memory.py",
        "if fits and storage.is_idle() and storage.is_as_made():",
        "if fits and storage.is_as_made():",
        "test_memory_holders.py::test_what_is_held_is_never_used_again",
    ),
    "memory that is kept without bounds": Mutant(
        "mathkernels/ops/_memory.py",
        "while idle and in_use + nbytes + kept > self.in_use_at_most:",
        "while idle and in_use + nbytes > self.in_use_at_most:",
        "test_memory.py::test_kept_and_used_are_never_more_than_was_used_at_once",
    ),
}
