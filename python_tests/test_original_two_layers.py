"""Command lines of the published two-layer script become the studies of two_layers.py, or are refused."""

import re

import pytest

from mathkernels.data.thresholds import Setup, two_layer_threshold
from mathkernels.ensemble import NAC, NALU, Ramp, Stack
from mathkernels.studies.product.experiments import MODELS, grid, simple_product
from mathkernels.studies.product.original import translate

NAU_ALONE = "--regualizer 0.01 --regualizer-scaling-start 5000 --regualizer-scaling-end 50000"
LINES = {
    "Linear": "--layer-type linear",
    "ReLU": "--layer-type ReLU",
    "ReLU6": "--layer-type ReLU6",
    "NAC+": "--layer-type NAC",
    "NAC.": "--layer-type NAC --nac-mul normal",
    "NAC-sigma": "--layer-type PosNAC --nac-mul normal --first-layer NAC",
    "NAC-NMU": "--layer-type ReRegualizedLinearPosNAC --nac-mul normal --first-layer ReRegualizedLinearNAC",
    "NALU": "--layer-type NALU",
    "NAU": f"--layer-type ReRegualizedLinearNAC {NAU_ALONE}",
    "NMU": "--layer-type ReRegualizedLinearNAC --nac-mul mnac",
    "gated NAU/NMU": "--layer-type ReRegualizedLinearNALU --nalu-two-nac --nalu-mul mnac",
}


@pytest.mark.parametrize("label", LINES)
def test_the_published_lines_give_the_models_of_the_main_grid(label):
    study = translate(f"simple_function_static.py --operation mul {LINES[label]} --seed 3", samples=100).study
    (variant,) = study.variants
    assert (variant.module, variant.ramp) == (MODELS[label].module, MODELS[label].ramp)
    assert study.seeds == (3,)
    ours, theirs = grid("mul", samples=100).members()[0].run.task, study.members()[0].run.task
    assert ours == theirs
    assert study.threshold == two_layer_threshold(Setup(operation="mul"), samples=100).value


def test_a_simple_line_gives_the_simple_product():
    line = (
        "--operation mul --layer-type ReRegualizedLinearNAC --nac-mul mnac --simple --max-iterations 200000"
    )
    run = translate(line, samples=100).study.members()[0].run
    wanted = [member.run for member in simple_product(samples=100).members() if member.variant == "NMU"]
    assert run == wanted[0]


def test_a_first_layer_of_its_own_gives_the_gate_experiment():
    study = translate("--operation add --layer-type NALU --first-layer NAC --nalu-two-nac", samples=100).study
    assert study.variants[0].module == Stack(first=NAC(), second=NALU(weights="separate"))
    assert study.variants[0].ramp == Ramp(start=1_000_000, end=2_000_000)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--layer-type LSTM", "--layer-type: got 'LSTM', needs one of linear"),
        ("--layer-type linear --operation power", "--operation: got 'power', needs one of add"),
        ("--layer-type ReRegualizedLinearNAC --nac-mul trig", "--nac-mul: got 'trig', needs one of none"),
        ("--layer-type ReRegualizedLinearNAC --nac-mul normal", "--nac-mul: got 'normal' with --layer-type"),
        ("--layer-type NALU --nalu-mul trig", "--nalu-mul: got 'trig', needs one of normal"),
        ("--layer-type NAC --hidden-size 40", "Stack.hidden: got 40"),
        ("--layer-type NAC --trash-cell", "--trash-cell asks for something"),
        ("--layer-type NAC --hiden-size 3", "--hiden-size is no flag of the two-layer script"),
    ],
)
def test_what_cannot_be_translated_is_named(line, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        translate(line, samples=10)
