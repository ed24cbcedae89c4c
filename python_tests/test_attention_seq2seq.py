"""Seq2Seq: what it computes, and its decoding against its own teacher forcing."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn as torch_nn
from torch.nn.utils.rnn import pack_padded_sequence

from mathkernels import nn

DOUBLE = {"dtype": torch.float64}
V, START, END = 7, 0, 1
SEARCH = {"start": START, "end": END, "max_length": 8}


def equal(one, other):
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def seq2seq(
    decoder="attentional", encoder="LSTM", bridge="linear", merge="concat", dtype=torch.float32, models=None
):
    given = {"dtype": dtype, "models": models}
    inner = getattr(nn, encoder)(5, 4, bidirectional=True, **given)
    memory = 8 if merge == "concat" else 4
    outer = {
        "attentional": lambda: nn.AttentionLSTM(
            3, 6, memory, score="general", feed="attentional", attentional_size=5, **given
        ),
        "output": lambda: nn.AttentionLSTM(3, 6, memory, key_size=4, heads=2, attentional_size=5, **given),
        "before": lambda: nn.AttentionGRU(
            3, 6, memory, score="additive", query="before", feed="context", **given
        ),
        "cross": lambda: nn.AttentionGRU(
            3, 6, memory, heads=2, key_size=3, value_size=3, cross=True, **given
        ),
        "plain": lambda: nn.LSTM(3, 6, 2, **given),
        "gru": lambda: nn.GRU(3, 6, **given),
    }[decoder]()
    options = {"source_vocabulary": 9, "bridge": bridge, "merge": merge, "dtype": dtype}
    model = nn.Seq2Seq(inner, outer, V, **options)
    with torch.no_grad():
        model.output_weight.mul_(8)  # far from even, so that outputs end at different lengths
    return model


KINDS = ("attentional", "output", "before", "cross", "plain", "gru")
every_kind = pytest.mark.parametrize("decoder", KINDS)


def sentences(count=20):
    return torch.randint(0, 9, (10, count)), torch.randint(1, 11, (count,))


@every_kind
def test_greedy_is_what_teacher_forcing_says_of_it(decoder):
    torch.manual_seed(0)
    model = seq2seq(decoder)
    source, lengths = sentences()
    best = model.greedy(source, lengths, **SEARCH)
    tokens = best.tokens[:, 0]
    given = torch.cat([torch.full((20, 1), START), tokens[:, :-1]], 1).T
    scores = torch.log_softmax(model(source, given, lengths), -1).transpose(0, 1)
    counts = torch.arange(8) < best.lengths
    free = counts & (torch.arange(8) < 7)  # at the limit an output can only end
    assert torch.equal(scores.argmax(-1)[free], tokens[free])
    taken = torch.where(counts, scores.gather(2, tokens[..., None])[..., 0], 0).sum(1)
    torch.testing.assert_close(taken.detach(), best.log_probs[:, 0], rtol=1e-5, atol=1e-5)


@every_kind
def test_beams_of_a_model_are_independent_of_their_batch_and_scored_right(decoder):
    torch.manual_seed(0)
    model = seq2seq(decoder)
    source, lengths = sentences()
    options = {**SEARCH, "beams": 4, "n_best": 3, "alpha": 0.7}
    whole = model.beam_search(source, lengths, **options)
    equal(tuple(whole), tuple(model.beam_search(source, lengths, block=3, **options)))
    for row in (0, 7, 19):
        length = int(lengths[row])
        alone = model.beam_search(source[:length, row : row + 1], **options)
        equal(tuple(alone), tuple(part[row : row + 1] for part in whole))
    for n in range(3):
        tokens, ends = whole.tokens[:, n], whole.lengths[:, n]
        given = torch.cat([torch.full((20, 1), START), tokens[:, :-1]], 1).T
        scores = torch.log_softmax(model(source, given, lengths), -1).transpose(0, 1)
        taken = scores.gather(2, tokens[..., None])[..., 0]
        total = torch.where(torch.arange(8) < ends[:, None], taken, 0).sum(1)
        torch.testing.assert_close((total / ends**0.7).detach(), whole.scores[:, n], rtol=1e-5, atol=1e-5)
    one = model.beam_search(source, lengths, **{**options, "beams": 1, "n_best": 1, "alpha": 0.0})
    equal(tuple(one), tuple(model.greedy(source, lengths, **SEARCH)))


@every_kind
@pytest.mark.parametrize("with_lengths", [True, False])
def test_sentences_that_are_encoded_in_parts_are_decoded_as_alone(decoder, with_lengths, monkeypatch):
    torch.manual_seed(0)
    model = seq2seq(decoder)
    source, lengths = sentences(11)
    lengths = lengths if with_lengths else None
    options = {**SEARCH, "beams": 3, "n_best": 2, "alpha": 0.5}
    whole = model.greedy(source, lengths, **SEARCH), model.beam_search(source, lengths, **options)
    monkeypatch.setattr(nn.seq2seq, "ENCODED_TOGETHER", 4)
    parts = model.greedy(source, lengths, **SEARCH), model.beam_search(source, lengths, **options)
    for one, other in zip(whole, parts, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_coverage_and_packed_sources():
    torch.manual_seed(0)
    model = seq2seq()
    source, lengths = sentences(6)
    options = {**SEARCH, "beams": 3, "coverage": 0.3, "alpha": 0.5}
    padded = model.beam_search(source, lengths, **options)
    packed = pack_padded_sequence(source, lengths, enforce_sorted=False)
    equal(tuple(model.beam_search(packed, **options)), tuple(padded))
    target = torch.randint(0, V, (4, 6))
    equal(model(packed, target), model(source, target, lengths))
    with pytest.raises(ValueError, match="no weights of attention, which coverage needs"):
        seq2seq("plain").beam_search(source, lengths, **options)


@pytest.mark.parametrize("bridge", ["none", "linear", "tanh"])
@pytest.mark.parametrize("merge", ["concat", "sum"])
@pytest.mark.parametrize("encoder", ["LSTM", "GRU"])
def test_bridges_and_merged_directions(bridge, merge, encoder):
    model = seq2seq("attentional", encoder, bridge, merge, torch.float64)
    source, lengths = sentences(4)
    y, ends = model.encoder(model.source_embedding[source], lengths=lengths)
    ends = ends if isinstance(ends, tuple) else (ends,)
    states = None
    if bridge != "none":
        joined = [torch.cat([*ends[min(i, len(ends) - 1)]], -1) for i in range(2)]
        states = tuple(
            F.linear(rows, getattr(model.bridge, f"weight_{i}"), getattr(model.bridge, f"bias_{i}"))
            for i, rows in enumerate(joined)
        )
        states = tuple(s.tanh() for s in states) if bridge == "tanh" else states
    memory = y if merge == "concat" else y[..., :4] + y[..., 4:]
    target, ends = torch.randint(0, V, (5, 4)), torch.tensor([5, 1, 2, 3])
    outputs, _, weights = model.decoder(
        model.embedding[target], memory, states, ends, memory_lengths=lengths, return_weights=True
    )
    found, alpha = model(source, target, lengths, ends, return_weights=True)
    torch.testing.assert_close(found, F.linear(outputs, model.output_weight, model.output_bias))
    torch.testing.assert_close(alpha, weights)


def test_states_are_passed_where_they_fit():
    encoder, decoder = nn.LSTM(5, 4, 2, **DOUBLE), nn.LSTM(3, 4, 2, **DOUBLE)
    model = nn.Seq2Seq(encoder, decoder, V, bridge="pass", **DOUBLE)
    source, target = torch.randn(6, 2, 5, dtype=torch.float64), torch.randint(0, V, (4, 2))
    _, states = encoder(source)
    outputs, _ = decoder(model.embedding[target], states)
    torch.testing.assert_close(
        model(source, target), F.linear(outputs, model.output_weight, model.output_bias)
    )
    decoder = nn.AttentionGRU(V, 8, 8, token_ids=True, **DOUBLE)
    model = nn.Seq2Seq(
        nn.GRU(5, 4, bidirectional=True, **DOUBLE), decoder, V, embed=False, bridge="pass", **DOUBLE
    )
    assert model(source, target).shape == (4, 2, V)
    assert "embedding" not in dict(model.named_parameters())


@every_kind
def test_models_train_side_by_side(decoder):
    many = seq2seq(decoder, models=2)
    source, lengths = sentences(4)
    target = torch.randint(0, V, (5, 4))
    found = many(torch.stack([source, source]), torch.stack([target, target]), lengths)
    for index in range(2):
        one = seq2seq(decoder)
        one.load_state_dict({name: p[index] for name, p in many.state_dict().items()})
        equal(one(source, target, lengths), found[index])
    for refused in (many.greedy, many.beam_search):
        with pytest.raises(ValueError, match="decoding needs a module without models"):
            refused(source, lengths, **SEARCH)


def test_coverage_does_not_depend_on_the_sentences_of_a_block():
    torch.manual_seed(0)
    model = seq2seq(dtype=torch.float64)
    source, lengths = torch.randint(0, 9, (40, 60)), torch.randint(1, 41, (60,))
    options = {**SEARCH, "beams": 1, "coverage": 1.0}
    whole = model.beam_search(source, lengths, **options)
    for block in (1, 3):
        equal(tuple(model.beam_search(source, lengths, block=block, **options)), tuple(whole))


@pytest.mark.parametrize("way", ["greedy", "beam_search"])
def test_decoding_names_what_is_wrong(way):
    model, source = seq2seq(), sentences(3)[0]
    options = {**SEARCH, **({"beams": 2} if way == "beam_search" else {})}
    for given, changed, error, message in [
        ((source[:, 0],), {}, ValueError, r"source has shape \(10,\); needs \(S, B\)"),
        ((source, 3), {}, ValueError, r"lengths has shape \(\); needs \(3,\)"),
        ((source, [1, 2]), {}, ValueError, r"lengths has shape \(2,\); needs \(3,\)"),
        ((source, [None] * 3), {}, TypeError, r"lengths is \[None, None, None\]; needs whole numbers"),
        ((source, [1.5, 2, 3]), {}, TypeError, r"lengths is torch\.float32; needs whole numbers"),
        ((source, [1, -2, 3]), {}, ValueError, "lengths .*-2"),
        ((source, [1, 11, 3]), {}, ValueError, "lengths .*11"),
        ((source,), {"start": V}, ValueError, "start is 7; needs a token id below vocabulary 7"),
        ((source,), {"end": V}, ValueError, "end is 7; needs a token id below 7"),
    ]:
        with pytest.raises(error, match=message):
            getattr(model, way)(*given, **{**options, **changed})


def test_seq2seq_names_what_is_wrong():
    encoder, decoder = nn.LSTM(5, 4), nn.AttentionLSTM(3, 6, 4, key_size=2)
    for parts, options, error, message in [
        ((torch_nn.LSTM(5, 4), decoder, V), {}, TypeError, "encoder is LSTM; needs an LSTM or a GRU"),
        ((encoder, torch_nn.Linear(3, 3), V), {}, TypeError, "decoder is Linear; needs one of AttentionLSTM"),
        ((encoder, nn.LSTM(3, 4, bidirectional=True), V), {}, ValueError, "the decoder is bidirectional"),
        ((nn.LSTM(5, 4, batch_first=True), decoder, V), {}, ValueError, "needs the same"),
        ((nn.LSTM(5, 7), decoder, V), {}, ValueError, "memory_size of the decoder is 4; needs 7"),
        (
            (encoder, decoder, V),
            {"bridge": "pass"},
            ValueError,
            "bridge is 'pass', but the encoder ends in 2 states",
        ),
        ((encoder, decoder, V), {"bridge": "draw"}, ValueError, "bridge is 'draw'"),
        ((encoder, decoder, V), {"embed": False}, ValueError, "input_size 3 needs to be vocabulary 7"),
    ]:
        with pytest.raises(error, match=message):
            nn.Seq2Seq(*parts, **options)
    model = seq2seq()
    with pytest.raises(TypeError, match=r"source_embedding takes token ids; the tokens are torch\.float32"):
        model(torch.zeros(3, 2), torch.zeros(3, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="the decoder does not attend"):
        seq2seq("plain")(*[torch.zeros(3, 2, dtype=torch.int64)] * 2, return_weights=True)
