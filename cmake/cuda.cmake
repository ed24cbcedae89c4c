# _C_cuda: the GPU kernels, built when nvcc is found.  MATHKERNELS_CUDA = AUTO | ON | OFF.
set(MATHKERNELS_CUDA "AUTO" CACHE STRING "Build the CUDA kernels: AUTO (if nvcc is found), ON or OFF")
