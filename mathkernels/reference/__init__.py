"""The executable specification: every op in plain torch, written for reading and never tuned."""

from mathkernels.reference.attention import attention_step, gru_attention, lstm_attention
from mathkernels.reference.clipped_reciprocal import clipped_reciprocal
from mathkernels.reference.discretisation import discretisation
from mathkernels.reference.gru import gru, gru_backward
from mathkernels.reference.inalu import inalu
from mathkernels.reference.linear import linear
from mathkernels.reference.lstm import lstm, lstm_backward
from mathkernels.reference.nac import nac
from mathkernels.reference.nac_mul import nac_mul, nac_nmu, nac_sigma
from mathkernels.reference.nalu import gnalu, nalu, nalu_nau_nmu, nalu_separate
from mathkernels.reference.nau import nau
from mathkernels.reference.nmru import nmru, nmru_gated
from mathkernels.reference.nmu import nmu
from mathkernels.reference.npu import npu
from mathkernels.reference.nru import nru, nru_separate
from mathkernels.reference.real_npu import real_npu
from mathkernels.reference.recurrent import recurrent_unit

__all__ = [
    "attention_step",
    "clipped_reciprocal",
    "discretisation",
    "gnalu",
    "gru",
    "gru_attention",
    "gru_backward",
    "inalu",
    "linear",
    "lstm",
    "lstm_attention",
    "lstm_backward",
    "nac",
    "nac_mul",
    "nac_nmu",
    "nac_sigma",
    "nalu",
    "nalu_nau_nmu",
    "nalu_separate",
    "nau",
    "nmru",
    "nmru_gated",
    "nmu",
    "npu",
    "nru",
    "nru_separate",
    "real_npu",
    "recurrent_unit",
]
