"""What was published: the project's five trials and its two sample problems, and the paper's results."""

from __future__ import annotations

from typing import Final, NamedTuple


class Result(NamedTuple):
    """A trial of the project; whether loss and accuracy are of training or validation is not said there."""

    stopped: int  # epoch
    loss: float
    token_accuracy: float


TRIALS: Final = {
    "trial_1": Result(91, 0.3397, 0.7467),
    "trial_2": Result(100, 0.3786, 0.7516),
    "trial_3": Result(85, 0.3619, 0.8041),
    "trial_4": Result(54, 0.3535, 0.7831),
    "trial_5": Result(68, 0.3605, 0.8045),
}
# problems that the project shows, and what its trials answered
SAMPLES: Final = {
    "x": {"trial_3": "x^2/2", "trial_5": "x^2*x^2/2"},
    "2*x": {"trial_3": "x^2*x^2", "trial_4": "x^2/2", "trial_5": "2*x^2"},
}
# answers right, in percent, of Lample & Charton 2020 (table 2) with beams of 1, 10 and 50
PAPER: Final = {"fwd": (93.6, 95.6, 96.2), "bwd": (98.4, 99.4, 99.7), "ibp": (96.8, 99.2, 99.5)}
# beams of 10, trained on -> tested on (fwd, bwd, ibp), of the published models
CROSS: Final = {
    "fwd": (97.2, 16.1, 89.2),
    "bwd": (31.6, 99.6, 60.0),
    "ibp": (55.3, 85.5, 99.3),
    "all": (95.6, 99.5, 99.6),
}
