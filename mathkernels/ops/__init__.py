"""Compiled layers for E independent models as torch functions, also found in ``torch.ops.mathkernels``.

All can be differentiated to any order in reverse mode, mapped by ``torch.vmap``, compiled and exported. That
is registered with the ops, so the bare ones can be as well. Second order comes from the plain torch of
``mathkernels.reference``. Forward mode (``torch.func.jvp``, ``jacfwd``, ``hessian``, ``forward_ad``) is
refused by name: ``torch.func.jacrev`` twice replaces ``hessian``.
"""

from mathkernels.ops.attention import AttentionOutput, gru_attention, lstm_attention
from mathkernels.ops.attention_step import attention_step
from mathkernels.ops.clipped_reciprocal import clipped_reciprocal
from mathkernels.ops.discretisation import discretisation
from mathkernels.ops.gru import gru
from mathkernels.ops.inalu import inalu
from mathkernels.ops.linear import linear
from mathkernels.ops.lstm import lstm
from mathkernels.ops.nac import nac
from mathkernels.ops.nac_mul import nac_mul, nac_nmu, nac_sigma
from mathkernels.ops.nalu import gnalu, nalu, nalu_nau_nmu, nalu_separate
from mathkernels.ops.nau import nau
from mathkernels.ops.nmru import nmru, nmru_gated
from mathkernels.ops.nmu import nmu
from mathkernels.ops.npu import npu
from mathkernels.ops.nru import nru, nru_separate
from mathkernels.ops.real_npu import real_npu
from mathkernels.ops.recurrent import recurrent_unit

__all__ = [
    "AttentionOutput",
    "attention_step",
    "clipped_reciprocal",
    "discretisation",
    "gnalu",
    "gru",
    "gru_attention",
    "inalu",
    "linear",
    "lstm",
    "lstm_attention",
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
