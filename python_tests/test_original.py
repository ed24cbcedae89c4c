"""Command lines of the published one-layer script become runs of the catalogue, or are refused."""

from __future__ import annotations

import dataclasses

import pytest

from mathkernels.ensemble.describe import NAC, NALU, NAU, NMU, Adam, Linear, NACMul, Ramp
from mathkernels.studies.division import catalogue
from mathkernels.studies.division.original import translate


@pytest.fixture(scope="module")
def members():
    return {number: study.members() for number, study in catalogue.FIGURES.items()}


_BASE = (
    "--operation div --layer-type RealNPU --nac-mul real-npu --learning-rate 5e-3 --regualizer-l1 "
    "--regualizer-beta-start 1e-9 --regualizer-beta-end 1e-7 --regualizer-shape none --regualizer 0 "
)
_MOD = (
    f"{_BASE} --npu-clip wg --regualizer-npu-w 1 --regualizer-gate 1 --reg-scale-type madsen "
    "--npu-Wr-init xavier-uniform-constrained "
)
_2, _10 = "--max-iterations 50000 ", "--input-size 10 --subset-ratio 0.1 --overlap-ratio 0 "
_LATE = "--regualizer-scaling-start 40000 --regualizer-scaling-end 50000 "
_EARLY = "--regualizer-scaling-start 20000 --regualizer-scaling-end 35000 "
_RAMP_10 = "--regualizer-scaling-start 50000 --regualizer-scaling-end 75000 "
_NRU = "--operation div --layer-type NRU --nac-mul mnac "
_NMRU = "--operation div --layer-type SignNMRU --learning-rate 1e-2 "
_EASY = "--operation reciprocal --input-size 1 --subset-ratio 1 --num-subsets 1 --max-iterations 5000 "
_SMALL = "--interpolation-range [0,1e-2] --extrapolation-range [0,1e-2] "


@pytest.mark.parametrize(
    ("number", "label", "line"),
    [
        ("3", "Real NPU (baseline)", _BASE + _2),
        ("3", "Real NPU (modified)", _MOD + _2 + _LATE),
        ("3", "NRU", _NRU + _2 + _EARLY + "--learning-rate 1"),
        ("3", "NMRU", _NMRU + _2 + _EARLY + "--clip-grad-norm 1"),
        ("2a", "G", _BASE + _2 + "--npu-clip g"),
        ("14", "L2", f"{_BASE.replace('1e-7', '1e-5').replace('1e-9', '1e-7')} {_2} --lp-norm 2"),
        ("6-redundancy", "Real NPU (modified)", _MOD + _10 + _RAMP_10),
        ("6-redundancy", "NRU", _NRU + _10 + _RAMP_10 + "--learning-rate 1e-3"),
        ("15", "NPU (no constraints)", _MOD.replace("RealNPU", "NPU") + _10 + _RAMP_10),
        ("15", "NPU (clip & reg)", _MOD.replace("RealNPU", "NPU").replace(" wg", " wig") + _10 + _RAMP_10),
        ("16", "{-1,0,1}", _MOD + _10 + _RAMP_10 + "--realnpu-reg-type bias"),
        ("17", "vanilla", _NMRU.replace("SignNMRU", "NMRU") + _10 + _RAMP_10),
        (
            "17",
            "gnc+sign+gating",
            _NMRU.replace("SignNMRU", "GatedSignNMRU")
            + _10
            + _RAMP_10
            + "--clip-grad-norm 1 --reg-scale-type madsen --regualizer-gate 1",
        ),
        ("19", "sgd", _NMRU + _10 + _RAMP_10 + "--clip-grad-norm 1 --optimizer sgd"),
        ("20", "separate", _NRU + _10 + _RAMP_10 + "--nru-div-mode div-sepSign"),
        ("22", "PCC", _NRU + _10 + _RAMP_10 + "--train-criterion pcc"),
        (
            "11",
            "Real NPU",
            _EASY
            + _SMALL
            + "--layer-type RealNPU --regualizer-shape none --regualizer 0 --learning-rate 5e-3 "
            "--npu-clip wg --npu-Wr-init xavier-uniform-constrained",
        ),
        ("12", "NMRU", _NMRU.replace("div", "reciprocal") + _2 + _EARLY + _SMALL + "--clip-grad-norm 1"),
        (
            "4",
            "Real NPU (modified)",
            _MOD + _2 + _LATE + "--interpolation-range [[-2,-1],[1,2],[]] "
            "--extrapolation-range [[-6,-2],[2,6],[]]",
        ),
        (
            "6-distributions",
            "NRU",
            _NRU + _2 + _EARLY + "--learning-rate 1 --sample-distribution truncated-normal -1 3 -10 3 "
            "--interpolation-range [-5,10] --extrapolation-range [-15,-5]",
        ),
        (
            "7",
            "NRU",
            _NRU + _10 + _RAMP_10 + "--sample-distribution benford --interpolation-range [10,100] "
            "--extrapolation-range [100,1000]",
        ),
    ],
)
def test_a_line_of_the_published_jobs_is_a_run_of_the_catalogue(members, number, label, line):
    (member,) = translate(f"python3 experiments/single_layer.py {line} --seed 7 --no-cuda").study.members()
    own = [dataclasses.replace(m.run, threshold=1e-5) for m in members[number] if m.variant == label]
    assert member.run in own
    assert member.run.seed == 7


def test_flags_without_effect_are_named_and_defaults_are_the_scripts():
    translation = translate("--layer-type NRU --nac-mul mnac --no-cuda --name-prefix x --hidden-size 2")
    assert translation.without_effect == ("--nac-mul", "--no-cuda", "--name-prefix", "--hidden-size")
    (member,) = translation.study.members()
    assert (member.run.optimizer, member.run.iterations) == (Adam(lr=1e-3), 100_000)
    assert member.run.ramp == Ramp(start=1_000_000, end=2_000_000)
    assert (member.run.task.operation, member.dataset) == ("add", "U[1,2]")


@pytest.mark.parametrize(
    ("flags", "module"),
    [
        ("linear", Linear()),
        ("ReLU6", Linear(activation="relu6")),
        ("NAC --nac-mul normal", NAC()),
        ("MNAC", NACMul()),
        ("NALU --nalu-two-nac", NALU(weights="separate")),
        ("ReRegualizedLinearNALU --nalu-two-nac --nalu-mul mnac", NALU(weights="nau-nmu")),
        ("ReRegualizedLinearNAC --regualizer 3", NAU(penalty=3)),
        ("ReRegualizedLinearMNAC", NMU()),
    ],
)
def test_the_older_layers_have_their_names(flags, module):
    assert translate(f"--operation add --layer-type {flags}").study.variants[0].module == module


def test_a_flag_of_another_layer_has_no_effect():
    translation = translate("--layer-type NRU --npu-clip wg --lp-norm 2 --nru-div-mode div --nalu-mul mnac")
    assert translation.without_effect == ("--npu-clip", "--lp-norm", "--nalu-mul")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "needs flags such as"),
        ("--layer-type 'NRU", "no command line"),
        ("--layer-type", "got no value, needs 1 value"),
        ("--no-cuda yes", "needs no value"),
        ("--learning-rte 1", "no flag of the one-layer script; did you mean 'learning-rate'"),
        ("--layer-type LSTM", "--layer-type: got 'LSTM', needs one of RealNPU"),
        ("--layer-type NALU --nalu-mul trig", "--nalu-mul: got 'trig', needs one of normal"),
        ("--layer-type ReRegualizedLinearNALU --nalu-mul mnac", "needs --nalu-two-nac"),
        ("--layer-type RealNPU --npu-clip wg", "--regualizer: got 10, the general penalty"),
        ("python3 experiments/simple_function_static.py --layer-type NAU", "is the two-layer script"),
        ("--layer-type NRU --learning-rate fast", "--learning-rate: got 'fast', needs a number"),
        ("--layer-type NRU --trash-cell", "--trash-cell asks for something"),
        ("--layer-type NRU --output-size 2", "--output-size: got 2, needs 1"),
        ("--layer-type NRU --interpolation-range 1..2", "needs \\[low,high\\]"),
        (
            "--layer-type NRU --sample-distribution exponential 3",
            "--sample-distribution: got 'exponential 3'",
        ),
        ("--layer-type NRU --train-criterion pcc-mse", "--train-criterion: got 'pcc-mse'"),
        ("--layer-type RealNPU --regualizer 0 --regualizer-gate 1", "--reg-scale-type: got 'heim'"),
    ],
)
def test_a_line_that_cannot_be_followed_is_refused(line, message):
    with pytest.raises(ValueError, match=message):
        translate(line)
