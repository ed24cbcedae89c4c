"""Sequences and decoders that read rows of an embedding by number: results and gradients of these rows."""

from __future__ import annotations

import random

import pytest
import torch
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mathkernels import nn

KINDS = {"LSTM": nn.LSTM, "GRU": nn.GRU}


def flat(found):
    return [found] if isinstance(found, torch.Tensor) else [one for part in found for one in flat(part)]


def rows_of(table, ids):
    if table.dim() == 2:
        return functional.embedding(ids, table)
    return torch.stack([functional.embedding(own, one) for own, one in zip(ids, table, strict=True)])


def check(module, table, run, ids, rtol=1e-4, atol=1e-5):
    """Ids with the table give what rows give: results, and gradients of weights and table."""
    gradients = []
    results = []
    for by_number in (True, False):
        module.zero_grad()
        table.grad = None
        found = flat(run(ids, table) if by_number else run(rows_of(table, ids), None))
        source = torch.Generator().manual_seed(0)
        sum(
            (one * torch.randn(one.shape, generator=source, dtype=one.dtype)).sum() for one in found
        ).backward()
        results.append([one.detach() for one in found])
        gradients.append([table.grad, *(one.grad for one in module.parameters())])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=rtol, atol=atol)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=10 * rtol, atol=10 * atol)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(8))
def test_ids_with_a_table_are_its_rows(kind, seed):
    source = random.Random(f"{kind} {seed}")
    models = source.choice([None, 1, 3])
    T, B, I, H, V = (source.randint(1, n) for n in (9, 7, 6, 21, 40))
    first = source.choice([False, True])
    module = KINDS[kind](
        I,
        H,
        num_layers=source.choice([1, 2]),
        bias=source.choice([True, False]),
        batch_first=first,
        bidirectional=source.choice([True, False]),
        models=models,
    )
    lead = () if models is None else (models,)
    torch.manual_seed(seed)
    table = torch.randn(*lead, V, I, requires_grad=True)
    batched = source.random() < 0.8
    shape = (*lead, *((B, T) if first else (T, B))) if batched else (*lead, T)
    ids = torch.randint(0, V, shape)
    lengths = None
    if batched and source.random() < 0.5:
        lengths = torch.randint(0, T + 1, (B,))
    check(module, table, lambda x, own: module(x, lengths=lengths, embedding=own), ids)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_right_in_double_precision(kind):
    torch.manual_seed(0)
    module = KINDS[kind](3, 4, bidirectional=True, dtype=torch.float64)
    ids, table = torch.randint(0, 5, (4, 2)), torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    names, weights = zip(*module.named_parameters(), strict=True)

    def run(table, *weights):
        own = dict(zip(names, weights, strict=True))
        return torch.func.functional_call(module, own, (ids,), {"embedding": table})[0]

    assert torch.autograd.gradcheck(run, (table, *weights))


@pytest.mark.parametrize("kind", KINDS)
def test_a_packed_sequence_of_ids_goes_with_a_table(kind):
    torch.manual_seed(0)
    module, table = KINDS[kind](3, 4), torch.randn(7, 3)
    ids, lengths = torch.randint(0, 7, (5, 3)), torch.tensor([2, 5, 1])
    packed = pack_padded_sequence(ids, lengths, enforce_sorted=False)
    y, _ = pad_packed_sequence(module(packed, embedding=table)[0])
    torch.testing.assert_close(y, module(rows_of(table, ids), lengths=lengths)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [nn.AttentionLSTM, nn.AttentionGRU])
@pytest.mark.parametrize(
    "options",
    [
        {"cross": True, "heads": 2, "key_size": 4, "value_size": 3, "attention_bias": True},
        {"feed": "context"},
        {"feed": "attentional", "attentional_size": 5},
        {"feed": "context", "query": "before", "score": "additive", "key_size": 3},
        {"attentional_size": 4},
    ],
)
@pytest.mark.parametrize("models", [None, 2])
def test_decoders_read_rows_by_number(kind, options, models):
    torch.manual_seed(1)
    own = options if {"score", "key_size"} & {*options} else {**options, "score": "dot"}
    module = kind(3, 6, 6, models=models, **own)
    lead = () if models is None else (models,)
    memory, lengths = torch.randn(*lead, 5, 4, 6), torch.tensor([5, 1, 3, 4])
    table = torch.randn(*lead, 11, 3, requires_grad=True)
    ids, ends = torch.randint(0, 11, (*lead, 7, 4)), torch.tensor([7, 0, 2, 6])

    def run(x, own):
        return module(x, memory, None, ends, memory_lengths=lengths, embedding=own)

    check(module, table, run, ids)


def test_bits_do_not_depend_on_company():
    torch.manual_seed(0)
    many, table = nn.LSTM(5, 19, models=3), torch.randn(3, 30, 5)
    ids = torch.randint(0, 30, (3, 6, 9))
    y, _ = many(ids, embedding=table)
    alone = nn.LSTM(5, 19)
    alone.load_state_dict({name: value[1] for name, value in many.state_dict().items()})
    assert torch.equal(alone(ids[1], embedding=table[1])[0], y[1])
    assert torch.equal(alone(ids[1][:, 3:4], embedding=table[1])[0][:, 0], y[1][:, 3])


def test_seq2seq_multiplies_short_tables_once_and_gathers_rows_of_long_ones():
    torch.manual_seed(0)
    for words in (nn.seq2seq.MOST_ROWS, nn.seq2seq.MOST_ROWS + 1):
        decoder = nn.AttentionGRU(5, 6, 12, score="general")
        module = nn.Seq2Seq(nn.LSTM(5, 6, bidirectional=True), decoder, words, source_vocabulary=words)
        source, target = torch.randint(0, words, (7, 3)), torch.randint(0, words, (4, 3))
        found = module(source, target)
        start = module.encoder(functional.embedding(source, module.source_embedding))
        memory = module.decoder.prepare(start[0])
        x = functional.embedding(target, module.embedding)
        y, _ = module.decoder(x, memory, module.bridge(start[1]))
        torch.testing.assert_close(found, module.logits(y), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_fit_is_named(kind):
    module, ids = KINDS[kind](3, 4), torch.zeros(5, 2, dtype=torch.int64)
    for table, error, message in (
        (torch.zeros(7, 4), ValueError, r"embedding has shape \(7, 4\); needs \(V, 3\)"),
        (torch.zeros(2, 7, 3), ValueError, r"embedding has shape \(2, 7, 3\); needs \(V, 3\)"),
        ([[0.0]], TypeError, "embedding is list"),
        (
            torch.zeros(7, 3, dtype=torch.float64),
            TypeError,
            r"embedding is torch\.float64; needs torch\.float32",
        ),
    ):
        with pytest.raises(error, match=f"{kind}: {message}"):
            module(ids, embedding=table)
    with pytest.raises(TypeError, match=f"{kind}: x is torch.float32 beside embedding; needs whole numbers"):
        module(torch.zeros(5, 2, 3), embedding=torch.zeros(7, 3))
    with pytest.raises((ValueError, IndexError), match="7"):
        module(ids + 7, embedding=torch.zeros(7, 3))
    decoder = nn.AttentionGRU(3, 4, 4)
    with pytest.raises(TypeError, match=r"AttentionGRU: embedding is torch\.float64; needs torch\.float32"):
        decoder(ids, torch.zeros(6, 2, 4), embedding=torch.zeros(7, 3).double())
