"""Arithmetic layers under their papers' names, LSTM and GRU as in torch.nn; ``models=E`` makes E of each."""

from mathkernels.nn.accumulators import NAC, NACNMU, NACMul, NACSigma
from mathkernels.nn.attention import Attention
from mathkernels.nn.attention_decoders import AttentionGRU, AttentionLSTM
from mathkernels.nn.cells import GRUCell, LSTMCell
from mathkernels.nn.convert import RECURRENT, convert
from mathkernels.nn.decoding import beam_search, greedy
from mathkernels.nn.gru import GRU
from mathkernels.nn.lstm import LSTM
from mathkernels.nn.nalu import GNALU, INALU, NALU
from mathkernels.nn.npu import NPU
from mathkernels.nn.real_npu import RealNPU
from mathkernels.nn.recurrent import RecurrentUnit
from mathkernels.nn.seq2seq import Seq2Seq
from mathkernels.nn.units import NAU, NMRU, NMU, NRU

__all__ = [
    "GNALU",
    "GRU",
    "INALU",
    "LSTM",
    "NAC",
    "NACNMU",
    "NALU",
    "NAU",
    "NMRU",
    "NMU",
    "NPU",
    "NRU",
    "RECURRENT",
    "Attention",
    "AttentionGRU",
    "AttentionLSTM",
    "GRUCell",
    "LSTMCell",
    "NACMul",
    "NACSigma",
    "RealNPU",
    "RecurrentUnit",
    "Seq2Seq",
    "beam_search",
    "convert",
    "greedy",
]
