"""Runs that cover every module and option of the ensemble, small enough for the plain loop to follow."""

from mathkernels.ensemble import (
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
    Restarts,
    Run,
    Stack,
    Task,
)

RAMP = Ramp(start=200, end=600)


def task(operation="div", inputs=2, interpolation="U[1,2]", extrapolation="U[2,6]", **more):
    return Task(
        operation=operation, inputs=inputs, interpolation=interpolation, extrapolation=extrapolation, **more
    )


def run(module, optimizer=None, iterations=1000, seed=3, **more):
    more = {"task": task(), "ramp": RAMP, "evaluate_every": 250, **more}
    return Run(module=module, seed=seed, optimizer=optimizer or Adam(lr=5e-3), iterations=iterations, **more)


NEGATIVE = {"interpolation": "U[-2,-1]", "extrapolation": "U[-6,-2]"}
AROUND_ZERO = {"interpolation": "U[-2,2]", "extrapolation": "U[-6,-2] or U[2,6]"}
BY_POSITION = {"interpolation": "U[-2,-1] ; U[1,2]", "extrapolation": "U[-6,-2] ; U[2,6]"}
BENFORD = {"interpolation": "B[10,100]", "extrapolation": "B[100,1000]"}
TRUNCATED = {"interpolation": "TN(1,3)[-10,5]", "extrapolation": "TN(10,3)[5,15]"}
MODIFIED = RealNPU.modified()

# name -> run, over as many iterations as float64 trajectories can be compared; chaotic ones have fewer
RUNS = {
    "nau-add": run(NAU(), task=task("add")),
    "nau-sub-mixed": run(NAU(penalty=0.01), task=task("sub", **AROUND_ZERO)),
    "nau-subsets": run(NAU(), task=task("add", inputs=12, subset_ratio=0.25, overlap_ratio=0.5)),
    "nmu-mul": run(NMU(), task=task("mul")),
    "nmu-mul-10": run(NMU(), task=task("mul", inputs=10)),
    "nmu-squared": run(NMU(), task=task("squared", inputs=3)),
    "nmu-sgd-momentum": run(  # ends before it has arrived, where all momenta are alike
        NMU(), SGD(lr=1e-2, momentum=0.9), task=task("mul"), iterations=40, evaluate_every=4
    ),
    "nmu-no-ramp": run(NMU(penalty=0.1), task=task("mul"), ramp=None),
    "npu-baseline": run(RealNPU()),
    "npu-no-norm": run(RealNPU(norm=None)),
    "npu-norm-steps": run(RealNPU(norm=Norm(start=1e-3, end=1e-1, every=300))),
    "npu-norm-2": run(RealNPU(norm=Norm(start=1e-4, end=1e-2, every=300, order=2))),
    "npu-clip-g": run(RealNPU(clip="g")),
    "npu-clip-w": run(RealNPU(clip="w")),
    "npu-clip-wg": run(RealNPU(clip="wg")),
    "npu-gate-penalty": run(RealNPU(clip="wg", gate_penalty=1.0)),
    "npu-modified": run(MODIFIED),
    "npu-modified-negative": run(MODIFIED, task=task(**NEGATIVE)),
    "npu-modified-around-zero": run(MODIFIED, task=task(**AROUND_ZERO)),
    "npu-modified-by-position": run(MODIFIED, task=task(**BY_POSITION)),
    "npu-modified-10": run(MODIFIED, task=task(inputs=10)),
    "npu-ternary": run(RealNPU(clip="wg", weight_penalty=1.0, weight_target="ternary", epsilon=1e-3)),
    "npu-reciprocal": run(MODIFIED, task=task("reciprocal", inputs=1)),
    "nru": run(NRU(), Adam(lr=1e-2)),
    "nru-root": run(NRU(), Adam(lr=1e-3), task=task("root", inputs=2)),
    "nru-10": run(NRU(), Adam(lr=1e-3), task=task(inputs=10), iterations=300),
    "nru-negative": run(NRU(), Adam(lr=1e-3), task=task(**NEGATIVE), iterations=50, evaluate_every=25),
    "nmru": run(NMRU(), Adam(lr=1e-2), clip_norm=1.0),
    "nmru-negative": run(NMRU(), Adam(lr=1e-2), task=task(**NEGATIVE), clip_norm=1.0),
    "nmru-around-zero": run(
        NMRU(), task=task(**AROUND_ZERO), clip_norm=1.0, iterations=50, evaluate_every=25
    ),
    "nmru-10": run(NMRU(), Adam(lr=1e-2), task=task(inputs=10), clip_norm=1.0),
    "nmru-no-clip-sgd": run(NMRU(), SGD(lr=1e-4)),
    "complex": run(NPU()),
    "complex-around-zero-10": run(
        NPU.modified(constrain_imaginary=True), task=task(inputs=10, **AROUND_ZERO), iterations=300
    ),
    "complex-free-negative": run(NPU.modified(), task=task(**NEGATIVE)),
    "npu-pcc": run(MODIFIED, criterion="pcc"),
    "npu-mape-10": run(MODIFIED, task=task(inputs=10), criterion="mape"),
    "npu-benford": run(MODIFIED, task=task(**BENFORD)),
    "npu-truncated-normal": run(MODIFIED, task=task(**TRUNCATED), iterations=100, evaluate_every=50),
    "nru-separate": run(NRU(separate_signs=True), Adam(lr=1e-2)),
    "nru-separate-negative": run(
        NRU(separate_signs=True), Adam(lr=1e-3), task=task(**NEGATIVE), iterations=50, evaluate_every=25
    ),
    "nru-pcc-10": run(NRU(), Adam(lr=1e-3), task=task(inputs=10), iterations=200, criterion="pcc"),
    "nmru-mape": run(NMRU(), Adam(lr=1e-2), clip_norm=1.0, wide_norm=True, criterion="mape"),
    "nmru-gated": run(NMRU(gated=True), Adam(lr=1e-2), clip_norm=1.0),
    "nmru-gated-negative-10": run(
        NMRU(gated=True),
        Adam(lr=1e-2),
        task=task(inputs=10, **NEGATIVE),
        clip_norm=1.0,
        iterations=100,
        evaluate_every=50,
    ),
    "linear-3": run(Linear(), task=task("add", inputs=3)),
    "relu-3": run(Linear(activation="relu"), task=task("sub", inputs=3), seed=5),
    "relu6": run(Linear(activation="relu6"), task=task("add")),
    "nac": run(NAC(), task=task("sub", **AROUND_ZERO)),
    "nac-mul": run(NACMul(), task=task("mul")),
    "nac-sigma-10": run(NACMul(weights="sigma"), task=task("mul", inputs=10), iterations=300),
    "nac-nmu": run(NACMul(weights="nmu"), task=task("mul")),
    "nalu": run(NALU(), task=task("add", **AROUND_ZERO), iterations=300),
    "nalu-separate": run(NALU(weights="separate"), task=task("mul")),
    "nalu-nau-nmu": run(NALU(weights="nau-nmu"), task=task("mul"), clip_norm=1.0),
    "gnalu": run(GNALU(), task=task("add")),
    "inalu": run(INALU(), task=task("div", **NEGATIVE), iterations=300),
    "inalu-penalty": run(
        INALU(penalty_after=60, penalty_below=0.15),
        task=task("mul"),
        iterations=200,
        evaluate_every=20,
        clip_value=0.1,
    ),
    "inalu-always-penalised": run(INALU(penalty_after=10, penalty_below=None), iterations=100),
    "inalu-restarts": run(
        INALU(penalty_after=10),
        SGD(lr=0.0),  # what stands still starts anew
        task=task("mul", **AROUND_ZERO),
        iterations=200,
        evaluate_every=5,
        clip_value=0.01,
        restarts=Restarts(window=7, every=10, above=0.5),
    ),
    "nmu-restarts": run(
        NMU(),
        Adam(lr=1.0, betas=(0.5, 0.5)),
        iterations=120,
        evaluate_every=4,
        restarts=Restarts(window=7, every=1, above=0.05),
    ),
    "nmru-clip-value": run(NMRU(), SGD(lr=1e-2), clip_value=0.01),
    "stack-inalu": run(
        Stack(first=NAU(), second=INALU(penalty_after=5)),
        task=task("div", inputs=4),
        iterations=50,
        evaluate_every=5,
    ),
    "stack-nau-nmu": run(
        Stack(first=NAU(penalty=0.01), second=NMU()),
        task=task("mul", inputs=12, subset_ratio=0.25, overlap_ratio=0.5),
        iterations=300,
    ),
    "stack-simple": run(
        Stack(first=NAC(), second=NACMul(), hidden=3),
        task=task("mul", inputs=4, spans=((0, 4), (0, 2))),
        iterations=50,
        evaluate_every=25,
        clip_norm=1.0,
    ),
    "stack-nalu": run(
        Stack(first=NALU(weights="separate"), second=NALU()),
        task=task("add", inputs=4, spans=((0, 4), (0, 2))),
        iterations=50,
        evaluate_every=25,
        criterion="pcc",
    ),
    "stack-relu": run(
        Stack(first=Linear(activation="relu"), second=Linear(), hidden=5),
        task=task("add", inputs=7),
        iterations=300,
    ),
    "stack-npu": run(
        Stack(first=NAU(), second=RealNPU(norm=None, clip="wg", weight_penalty=1.0)),
        task=task("div", inputs=4),
    ),
    "stack-complex-npu": run(
        Stack(first=NAU(), second=NPU(norm=None, clip="wig", weight_penalty=1.0)),
        task=task("div", inputs=4),
    ),
    "nmru-unsigned": run(NMRU(sign_retrieval=False), Adam(lr=1e-2), task=task(**NEGATIVE)),
}
