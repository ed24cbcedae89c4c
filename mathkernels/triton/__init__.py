"""The layers once more, for GPUs, in Triton: one file per op, named as its reference and its CPU kernel.

Nothing is imported here, so that a machine without triton can import everything else; ``mathkernels.ops``
imports the one file it needs when it is given CUDA tensors. The functions check nothing: shapes, dtypes and
devices were checked by the op. All of them take float32 or float64, divide the work by shape alone and add
in a fixed order, so that a result does not depend on the run. See docs/gpu.md.
"""
