"""What the grid of compositions runs over: public ops and modules, beside plain torch of the same meaning.

An op or a module that is missing here fails `test_the_grid_holds_everything_public`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from attention_cases import Case as DecoderCase
from attention_module_cases import CASES as ATTENTION
from layer_cases import CASES as LAYERS
from sequence_op_cases import CASES as SEQUENCES
from sequence_op_cases import Case as SequenceCase
from torch import Tensor, nn

import mathkernels.nn as fused
from mathkernels import ops, reference
from mathkernels.reference.recurrent import UNITS

EPS, ACC = 2.0**-23, 1e-7  # the usual epsilons of reciprocals and of accumulators


@dataclass(frozen=True)
class OpCase:
    """One public op with options: functions of the same leaves, all of which are real and get gradients."""

    id: str
    op: str
    leaves: Callable[..., list[Tensor]]  # dtype -> new leaves; the first is the input
    function: Callable[..., Any]
    reference: Callable[..., Any]
    output: Callable[[Any], Tensor] = field(default=lambda result: result)

    def value(self, *leaves: Tensor) -> Tensor:
        return flat(self.function(*leaves))

    def meaning(self, *leaves: Tensor) -> Tensor:
        return flat(self.reference(*leaves))


def flat(result: Any) -> Tensor:
    """All tensors of a result as one."""
    tensors = [result] if isinstance(result, Tensor) else list(result)
    return torch.cat([tensor.flatten() for tensor in tensors])


def _layers() -> list[OpCase]:
    shape = (2, 3, 2, 2)  # E, B, I, O
    return [
        OpCase(
            case.id,
            case.op,
            lambda dtype=torch.float64, case=case: case.leaves(shape, dtype),
            case.function,
            case.reference,
        )
        for case in LAYERS
    ]


def _sequences() -> list[OpCase]:
    shape = (2, 3, 3, 2, 2, 2)  # E, T, B, I, H, D
    more = [SequenceCase("lstm", bfloat16=True), SequenceCase("gru", bfloat16=True)]

    def make(case: SequenceCase) -> OpCase:
        return OpCase(
            case.id,
            case.kind,
            lambda dtype=None: case.leaves(
                shape, dtype or (torch.float32 if case.bfloat16 else torch.float64)
            ),
            case.function(shape),
            case.reference(shape),
            lambda result: result[0],
        )

    return [make(case) for case in (*SEQUENCES, *more)]


def _attention() -> list[OpCase]:
    def step(name: str, additive: bool) -> OpCase:
        def leaves(dtype: torch.dtype = torch.float64) -> list[Tensor]:
            shapes = [(2, 3, 2, 4), (2, 3, 5, 4), (2, 3, 5, 6), *([(2, 4)] if additive else [])]
            return [torch.empty(*shape, dtype=dtype).uniform_(-1, 1) for shape in shapes]

        def function(query: Tensor, keys: Tensor, values: Tensor, score: Tensor | None = None) -> Any:
            return ops.attention_step(query, keys, values, None, score, heads=2, return_weights=True)

        def meaning(query: Tensor, keys: Tensor, values: Tensor, score: Tensor | None = None) -> Any:
            return reference.attention_step(query, keys, values, None, score, 2)

        return OpCase(name, "attention_step", leaves, function, meaning, lambda result: result[0])

    def decoder(name: str, kind: str, **options: Any) -> OpCase:
        sizes = (2, 3, 3, 2, 4, 5, 2, 2, 3, 3)  # E, T, B, I, H, S, N, P, R, A

        case = DecoderCase(kind, sizes, **options)
        return OpCase(
            name,
            f"{kind}_attention",
            lambda dtype=torch.float64: [leaf.to(dtype) for leaf in case.leaves()],
            case.function,
            case.meaning,
            lambda result: result[0],
        )

    return [
        step("attention_step", False),
        step("attention_step-additive", True),
        decoder("lstm_attention", "lstm"),
        decoder("lstm_attention-attentional", "lstm", feed="attentional", projects=True, score="scaled"),
        decoder("gru_attention", "gru"),
        decoder("gru_attention-before", "gru", query="before", projects=True, score="additive"),
    ]


def _recurrent() -> list[OpCase]:
    def make(unit: str, count: int) -> OpCase:
        def leaves(dtype: torch.dtype = torch.float64) -> list[Tensor]:
            l = torch.empty(2, 3, 2, dtype=dtype).uniform_(0.5, 1.5)
            weight = torch.empty(2, count, dtype=dtype).uniform_(0.1, 0.9)
            return [l, weight, torch.empty(2, 2, dtype=dtype).uniform_(0.5, 1.5)]

        return OpCase(
            f"recurrent_unit-{unit}",
            "recurrent_unit",
            leaves,
            lambda l, weight, initial: ops.recurrent_unit(l, weight, initial, unit),
            lambda l, weight, initial: reference.recurrent_unit(l, weight, initial, unit, ACC),
        )

    return [make(unit, count) for unit, (_, count, _) in UNITS.items()]


def _elementary() -> list[OpCase]:
    def numbers(dtype: torch.dtype = torch.float64) -> list[Tensor]:
        return [torch.tensor([[-2.0, -0.04, 0.03], [0.7, 1.4, 0.02]], dtype=dtype)]

    def weights(dtype: torch.dtype = torch.float64) -> list[Tensor]:
        return [torch.tensor([[-1.3, -0.3, 0.2], [0.4, 0.8, 1.1]], dtype=dtype)]

    return [
        OpCase(
            "clipped_reciprocal",
            "clipped_reciprocal",
            numbers,
            lambda x: ops.clipped_reciprocal(x, 10.0),
            lambda x: reference.clipped_reciprocal(x, 10.0),
        ),
        *(
            OpCase(
                f"discretisation-{kind}",
                "discretisation",
                weights,
                lambda w, kind=kind: ops.discretisation(w, kind),
                lambda w, kind=kind: reference.discretisation(w, kind),
            )
            for kind in ("unit", "ternary", "signed-unit")
        ),
    ]


OPS = [*_layers(), *_sequences(), *_attention(), *_recurrent(), *_elementary()]


@dataclass(frozen=True)
class ModuleCase:
    """One module, what it is given, and the same function of its parameters in plain torch."""

    id: str
    name: str
    make: Callable[..., nn.Module]  # models -> the module in float64
    shape: tuple[int, ...]  # of its input, without the axis of models
    meaning: Callable[[dict[str, Tensor], Tensor], Tensor]  # parameters, x -> what `run` gives

    def x(self) -> Tensor:
        """Away from 0, and of both signs where the module takes them."""
        return torch.empty(self.shape, dtype=torch.float64).uniform_(0.4, 1.6)

    @staticmethod
    def run(module: nn.Module, x: Tensor) -> Tensor:
        return first(module(x))


def first(result: Any) -> Tensor:
    while not isinstance(result, Tensor):
        result = result[0]
    return result


def _columns(*names: str) -> Callable[[dict[str, Tensor]], Tensor]:
    def pack(p: dict[str, Tensor]) -> Tensor:
        return torch.cat([p[n] if p[n].dim() == 2 else p[n][:, None] for n in names], dim=-1)[None]

    return pack


def _unit(function: Callable[..., Tensor], *names: str, gate: str | None = None) -> Callable:
    """The meaning of an arithmetic layer: its reference on the packed weight of one model."""
    pack = _columns(*names)

    def meaning(p: dict[str, Tensor], x: Tensor) -> Tensor:
        more = () if gate is None else (p[gate][None],)
        return function(x[None], pack(p), *more)[0]

    return meaning


def _npu(x: Tensor, weight: Tensor, gate: Tensor) -> Tensor:
    return reference.npu(x, *weight.chunk(2, dim=-1), gate, 2.0**-23)


def _stock(kind: type[nn.Module], *sizes: int, **options: Any) -> Callable:
    twin = kind(*sizes, **options).double()

    def meaning(p: dict[str, Tensor], x: Tensor) -> Tensor:
        return first(torch.func.functional_call(twin, p, (x,)))

    return meaning


def _arithmetic() -> list[ModuleCase]:
    hat, shared = ("weight_hat", "m_hat"), ("weight_hat", "m_hat", "gate")
    separate = ("weight_hat", "m_hat", "mul_weight_hat", "mul_m_hat", "gate")
    ref = reference
    table: list[tuple[str, str, dict[str, Any], Callable]] = [
        ("NAU", "NAU", {}, _unit(ref.nau, "weight")),
        ("NMU", "NMU", {}, _unit(ref.nmu, "weight")),
        ("NRU", "NRU", {}, _unit(lambda x, w: ref.nru(x, w, True), "weight")),
        (
            "NRU-separate",
            "NRU",
            {"separate_signs": True},
            _unit(lambda x, w: ref.nru_separate(x, w, True), "weight"),
        ),
        ("NMRU", "NMRU", {}, _unit(lambda x, w: ref.nmru(x, w, EPS, True, True), "weight")),
        (
            "NMRU-gated",
            "NMRU",
            {"gated": True},
            _unit(lambda x, w, g: ref.nmru_gated(x, w, g, EPS, True), "weight", gate="gate"),
        ),
        ("RealNPU", "RealNPU", {}, _unit(lambda x, w, g: ref.real_npu(x, w, g, EPS), "weight", gate="gate")),
        ("NPU", "NPU", {}, _unit(_npu, "weight", "imaginary", gate="gate")),
        ("NAC", "NAC", {}, _unit(ref.nac, *hat)),
        ("NACMul", "NACMul", {}, _unit(lambda x, w: ref.nac_mul(x, w, ACC), *hat)),
        ("NACSigma", "NACSigma", {}, _unit(lambda x, w: ref.nac_sigma(x, w, ACC), "weight_hat")),
        ("NACNMU", "NACNMU", {}, _unit(lambda x, w: ref.nac_nmu(x, w, ACC), "weight")),
        ("NALU", "NALU", {}, _unit(lambda x, w: ref.nalu(x, w, ACC), *shared)),
        (
            "NALU-separate",
            "NALU",
            {"shared": False},
            _unit(lambda x, w: ref.nalu_separate(x, w, ACC), *separate),
        ),
        (
            "NALU-nau-nmu",
            "NALU",
            {"units": "nau-nmu"},
            _unit(ref.nalu_nau_nmu, "weight", "mul_weight", "gate"),
        ),
        ("GNALU", "GNALU", {}, _unit(lambda x, w: ref.gnalu(x, w, ACC), *shared)),
        ("INALU", "INALU", {}, _unit(lambda x, w: ref.inalu(x, w, ACC), *separate)),
    ]
    return [
        ModuleCase(
            id,
            name,
            lambda models=None, name=name, options=options: getattr(fused, name)(
                3, 2, models=models, dtype=torch.float64, **options
            ),
            (4, 3),
            meaning,
        )
        for id, name, options, meaning in table
    ]


def _recurrent_units() -> list[ModuleCase]:
    def meaning(unit: str, initial: float, *names: str) -> Callable:
        pack = _columns(*(f"unit.{name}" for name in names))

        def of(p: dict[str, Tensor], l: Tensor) -> Tensor:
            before = l.new_full((1, l.shape[1]), initial)
            return reference.recurrent_unit(l[None], pack(p)[:, 0], before, unit, ACC)[0]

        return of

    def make(name: str, unit: str, initial: float, *names: str) -> ModuleCase:
        def module(models: int | None = None) -> nn.Module:
            return fused.RecurrentUnit(name, models=models, dtype=torch.float64)

        return ModuleCase(
            f"RecurrentUnit-{name}", "RecurrentUnit", module, (3, 4), meaning(unit, initial, *names)
        )

    return [make("NAC", "nac", 0.0, "weight_hat", "m_hat"), make("NMU", "nmu", 1.0, "weight")]


def _recurrent_nets() -> list[ModuleCase]:
    def make(name: str, shape: tuple[int, ...], label: str = "", **options: Any) -> ModuleCase:
        def module(models: int | None = None) -> nn.Module:
            return getattr(fused, name)(3, 2, models=models, dtype=torch.float64, **options)

        return ModuleCase(name + label, name, module, shape, _stock(getattr(nn, name), 3, 2, **options))

    deep = {"num_layers": 2, "bidirectional": True}
    return [
        make("LSTM", (5, 4, 3)),
        make("GRU", (5, 4, 3)),
        make("LSTM", (5, 4, 3), "-deep", **deep),
        make("GRU", (5, 4, 3), "-deep", **deep),
        make("LSTM", (4, 5, 3), "-batch_first", batch_first=True, bias=False),
        make("LSTMCell", (4, 3)),
        make("GRUCell", (4, 3)),
    ]


def _attending() -> list[ModuleCase]:
    """Attention and what is made with it. Their projections are the linear layer."""
    return [ModuleCase(id, name, make, (5, 4, 3), meaning) for id, name, make, meaning in ATTENTION]


MODULES = [*_arithmetic(), *_recurrent_units(), *_recurrent_nets(), *_attending()]


def leaves_of(case, dtype=None):
    leaves = case.leaves() if dtype is None else case.leaves(dtype)
    return [leaf.requires_grad_() for leaf in leaves]


def tolerance(leaves):
    # float64: roundings in another order, also of a second gradient; float32: products of bfloat16, of 8 bits
    return {"rtol": 1e-9, "atol": 1e-11} if leaves[0].dtype == torch.float64 else {"rtol": 2e-2, "atol": 2e-3}


def same(ours, theirs, leaves):
    torch.testing.assert_close(ours, theirs, **tolerance(leaves))


def twice(leaves):
    """Two different sets of leaves in one, along a new first axis."""
    return [torch.stack([leaf, 0.9 * leaf + 0.03]).detach() for leaf in leaves]


def loss(function):
    return lambda *leaves: function(*leaves).sin().sum()


def both(case, compute):
    """What `compute` makes of the op and of its meaning in plain torch."""
    return compute(case.value), compute(case.meaning)
