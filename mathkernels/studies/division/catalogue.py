"""Every figure of the division paper as data: what its legend compares, on which data sets, how trained.

Source: Mistry, Farrahi & Hare 2021 (arXiv 2110.05177) and the flags of its published scripts. "In 2" is
without, "in 10" with redundant inputs. A configuration is written once; figures that show it share its runs.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from mathkernels.data.arithmetic import CHALLENGING, MIXED_SIGNS, NEAR_ZERO, RANGES
from mathkernels.ensemble.describe import (
    GNALU,
    INALU,
    NAC,
    NALU,
    NAU,
    NMRU,
    NMU,
    NPU,
    NRU,
    SGD,
    Adam,
    Linear,
    NACMul,
    Norm,
    Ramp,
    RealNPU,
)
from mathkernels.studies.arithmetic.study import Dataset, Study, Variant


def varied(variant: Variant, label: str | None = None, **changes: Any) -> Variant:
    """Return a variant changed in its own fields, its learning rate (``lr``) or the options of its module."""
    own = {field.name for field in dataclasses.fields(Variant)}
    fields = {name: value for name, value in changes.items() if name in own}
    options = {name: value for name, value in changes.items() if name not in own and name != "lr"}
    fields["module"] = dataclasses.replace(fields.get("module", variant.module), **options)
    if "lr" in changes:
        fields["optimizer"] = dataclasses.replace(variant.optimizer, lr=changes["lr"])
    return dataclasses.replace(variant, label=variant.label if label is None else label, **fields)


# Data sets, in the order of the axis and with its labels (the nine ranges get their parenthesis when drawn).

NINE_RANGES: dict[str, Dataset] = {text: ((RANGES[text][0],), (RANGES[text][1],)) for text in sorted(RANGES)}
_DISTRIBUTIONS: dict[str, Dataset] = dict(
    zip(
        ("B:[10,100)", "TN(-1,3):[-5,10)", "TN(1,3):[-10,5)", "TN(0,1):[-5,5)", "U:[-50,50)", "U:[-100,100)"),
        CHALLENGING.values(),
        strict=True,
    )
)
_SMALL_NUMBERS: dict[str, Dataset] = dict(
    zip(("U[0,1e-4)", "U[0,1e-3)", "U[0,1e-2)", "U[0,1e-1)", "U[0,1)"), NEAR_ZERO.values(), strict=True)
)

# Configurations in 2 inputs and, with another ramp and for the NRU another learning rate, in 10.

_LATE, _EARLY = Ramp(start=40_000, end=50_000), Ramp(start=20_000, end=35_000)
_IN_10_RAMP = Ramp(start=50_000, end=75_000)

_base = Variant(label="Real NPU (baseline)", module=RealNPU(), optimizer=Adam(lr=5e-3))
_modified = varied(_base, "Real NPU (modified)", module=RealNPU.modified(), ramp=_LATE)
_nru = Variant(label="NRU", module=NRU(), optimizer=Adam(lr=1.0), ramp=_EARLY)
_nmru = Variant(label="NMRU", module=NMRU(), optimizer=Adam(lr=1e-2), ramp=_EARLY, clip_norm=1.0)
_modified_10 = varied(_modified, ramp=_IN_10_RAMP)
_nru_10 = varied(_nru, ramp=_IN_10_RAMP, lr=1e-3)
_nmru_10 = varied(_nmru, ramp=_IN_10_RAMP)
_npu_10 = varied(_modified_10, "NPU (no constraints)", module=NPU.modified())
_clipped = varied(_base, clip="wg")
_gates = varied(_clipped, gate_penalty=1.0, ramp=_LATE)
_both = varied(_gates, weight_penalty=1.0)
_l2 = Norm(start=1e-7, end=1e-5, order=2)
# in no figure; the learning rate is the default of the papers' scripts
_npu = varied(_modified, "NPU", module=NPU.modified())
_nau = Variant(label="NAU", module=NAU(), optimizer=Adam(lr=1e-3), ramp=_EARLY)
_nmu = Variant(label="NMU", module=NMU(), optimizer=Adam(lr=1e-3), ramp=_EARLY)
_OLDER: dict[str, Variant] = {
    name: Variant(label=name, module=module, optimizer=Adam(lr=1e-3), ramp=_EARLY)
    for name, module in {
        "Linear": Linear(),
        "NAC": NAC(),
        "NACMul": NACMul(),
        "NALU": NALU(),
        "GNALU": GNALU(),
    }.items()
}
_OLDER["INALU"] = Variant(label="INALU", module=INALU(), optimizer=Adam(lr=1e-3), clip_value=0.1)

# What a module starts from when it is named alone, with up to two inputs and with more.
IN_2: dict[str, Variant] = {
    "RealNPU": _base,
    "RealNPU-modified": _modified,
    "NPU": _npu,
    "NRU": _nru,
    "NMRU": _nmru,
    "NAU": _nau,
    "NMU": _nmu,
    **_OLDER,
}
IN_10: dict[str, Variant] = {
    "RealNPU": _base,
    "RealNPU-modified": _modified_10,
    "NPU": varied(_npu_10, "NPU"),
    "NRU": _nru_10,
    "NMRU": _nmru_10,
    "NAU": varied(_nau, ramp=_IN_10_RAMP),
    "NMU": varied(_nmu, ramp=_IN_10_RAMP),
    **{name: varied(variant, ramp=variant.ramp and _IN_10_RAMP) for name, variant in _OLDER.items()},
}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of the paper.

    Args:
        number: as the paper has it; two figures are called 6.
        title: what it shows.
        keys: other names it is found by, those of the paper's plotting scripts.
        study: what is trained for it; None for a figure that needs no training.
    """

    number: str
    title: str
    keys: tuple[str, ...] = ()
    study: Study | None = None

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"figure-{self.number}"


_2: dict[str, Any] = {"inputs": 2, "iterations": 50_000}
_10: dict[str, Any] = {"inputs": 10, "iterations": 100_000}
_SMALL: dict[str, Any] = {"datasets": _SMALL_NUMBERS, "threshold": "exact"}
_ONE_PANEL: dict[str, Any] = {"panels": ("rate",)}


def _row(number: str, title: str, keys: str, *variants: Variant, **settings: Any) -> Figure:
    """Return a figure; without variants it is one that needs no training."""
    keys_of = tuple(f"nips-{key}" for key in keys.split())
    study = None
    if variants:
        shown = f"Figure {number.partition('-')[0]}: {title}"
        settings = {"datasets": NINE_RANGES, **settings}
        study = Study(name=f"figure-{number}", title=shown, variants=variants, **settings)
    return Figure(number=number, title=title, keys=keys_of, study=study)


def _sweep(variant: Variant, name: str, values: dict[str, Any]) -> list[Variant]:
    return [varied(variant, label, **{name: value}) for label, value in values.items()]


_BETAS = {
    f"({start},{end})": Norm(start=float(start), end=float(end))
    for start, end in (
        *(("1e-11", "1e-9"), ("1e-9", "1e-7"), ("1e-8", "1e-6"), ("1e-7", "1e-5")),
        *(("1e-5", "1e-3"), ("1e-3", "1e-1"), ("1e-1", "10")),
    )
}
_LOSSES = {"MSE": "mse", "PCC": "pcc", "MAPE": "mape"}
_RATES = {"1e-3": 1e-3, "1e-2": 1e-2, "1e-1": 1e-1, "1": 1.0}
_NMRU_RATES = {"1e-3": 1e-3, "1e-2": 1e-2, "1e-1": 1e-1}
_MEDIUM_HARD = (varied(_modified, "Real NPU"), _nru, _nmru)
_EASY = (
    varied(_base, "Real NPU", clip="wg", init="xavier-constrained", norm=None),
    varied(_nru, ramp=Ramp(start=15_000, end=20_000)),
    _nmru,
)
_FOUR, _FOUR_10 = (_base, _modified, _nru, _nmru), (_base, _modified_10, _nru_10, _nmru_10)
_NPUS = (
    _modified_10,
    _npu_10,
    varied(_npu_10, "NPU (clip & reg)", module=NPU.modified(constrain_imaginary=True)),
)
_PLAIN = varied(_nmru_10, sign_retrieval=False)
_ABLATION = (
    varied(_PLAIN, "vanilla", clip_norm=None),
    varied(_PLAIN, "gnc"),
    varied(_nmru_10, "sign", clip_norm=None),
    varied(_nmru_10, "gnc+sign"),
    varied(_nmru_10, "gnc+sign+gating", gated=True),
)

# fmt: off
# number, title, the keys of its plots in the paper's scripts, the legend, and how it is trained
_ROWS = (
    _row("1a", "L1 regularisation (2 inputs)", "realnpu-L1",
         varied(_base, "L1 off", norm=None), varied(_base, "L1 on"), **_2, **_ONE_PANEL),
    _row("1b", "L1 beta sweep (2 inputs)", "realnpu-L1_sweep",
         *_sweep(_base, "norm", _BETAS), **_2, **_ONE_PANEL),
    _row("2a", "clipping (2 inputs)", "realnpu-clipping",
         *_sweep(_base, "clip", {"None": "none", "G": "g", "W": "w", "GW": "wg"}), **_2, **_ONE_PANEL),
    _row("2b", "discretisation (2 inputs)", "realnpu-discretisation",
         varied(_clipped, "None"), varied(_gates, "G"), varied(_both, "GW"), **_2, **_ONE_PANEL),
    _row("2c", "initialisation (2 inputs)", "realnpu-init",
         varied(_both, "Xavier-Uniform"), varied(_modified, "Xavier-Uniform Constrained"),
         **_2, **_ONE_PANEL),
    _row("3", "no redundancy (2 inputs)", "sltr-in2", *_FOUR, **_2),
    _row("4", "mixed-sign inputs (2 inputs)", "", _modified, datasets=MIXED_SIGNS, **_2),
    _row("5", "division by small numbers with exact weights", ""),
    _row("6-redundancy", "with redundancy (10 inputs)", "sltr-in10", *_FOUR_10, **_10),
    _row("6-distributions", "challenging distributions (2 inputs)", "in2-distributions",
         _modified, _nru, _nmru, datasets=_DISTRIBUTIONS, **_2),
    _row("7", "challenging distributions (10 inputs)", "in10-distributions",
         _modified_10, _nru_10, _nmru_10, datasets=_DISTRIBUTIONS, **_10),
    _row("9", "loss landscape of two stacked layers", ""),
    _row("10", "NRU learning rates (2 inputs)", "in2-nru-lr", *_sweep(_nru, "lr", _RATES), **_2),
    _row("11", "division by small numbers, [a] → 1/a", "divBy0-easy",
         *_EASY, operation="reciprocal", inputs=1, iterations=5_000, **_SMALL),
    _row("12", "division by small numbers, [a,b] → 1/a", "divBy0-medium",
         *_MEDIUM_HARD, operation="reciprocal", **_2, **_SMALL),
    _row("13", "division by small numbers, [a,b] → a/b", "divBy0-hard", *_MEDIUM_HARD, **_2, **_SMALL),
    _row("14", "Real NPU, L2 regularisation (2 inputs)", "realnpu-L2",
         *_sweep(_base, "norm", {"No reg": None, "L1": Norm(), "L2": _l2}), **_2),
    _row("15", "NPU (10 inputs)", "sltr-in10-npu", *_NPUS, **_10),
    _row("16", "Real NPU, weights drawn to 0 as well (10 inputs)", "in10-realnpu-W-reg",
         *_sweep(_modified_10, "weight_target", {"{-1,1}": "signed-unit", "{-1,0,1}": "ternary"}), **_10),
    _row("17", "NMRU ablation (10 inputs)", "in10-nmru-ablation", *_ABLATION, **_10),
    _row("18", "NMRU learning rates (10 inputs)", "in10-nmru-lr",
         *_sweep(_nmru_10, "lr", _NMRU_RATES), **_10),
    _row("19", "NMRU optimiser (10 inputs)", "in10-nmru-optimiser",
         varied(_nmru_10, "sgd", optimizer=SGD(lr=1e-2)), varied(_nmru_10, "adam"), **_10),
    _row("20", "NRU, signs apart from magnitudes (10 inputs)", "in10-nru-separate-mag-sign",
         *_sweep(_nru_10, "separate_signs", {"together": False, "separate": True}), **_10),
    _row("21", "losses, Real NPU (10 inputs)", "sltr-in10-losses-realnpu",
         *_sweep(_modified_10, "criterion", _LOSSES), **_10),
    _row("22", "losses, NRU (10 inputs)", "sltr-in10-losses-nru",
         *_sweep(_nru_10, "criterion", _LOSSES), **_10),
    _row("23", "losses, NMRU (10 inputs)", "sltr-in10-losses-nmru",
         *_sweep(_nmru_10, "criterion", _LOSSES), **_10),
)
# fmt: on

CATALOGUE: dict[str, Figure] = {figure.number: figure for figure in _ROWS}
FIGURES: dict[str, Study] = {number: figure.study for number, figure in CATALOGUE.items() if figure.study}
