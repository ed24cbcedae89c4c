# _C_cuda: the GPU kernels, built when nvcc is found.  MATHKERNELS_CUDA = AUTO | ON | OFF.
# The module links the CUDA runtime statically and loads without a driver.
set(MATHKERNELS_CUDA "AUTO" CACHE STRING "Build the CUDA kernels: AUTO (if nvcc is found), ON or OFF")
if(NOT MATHKERNELS_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "MATHKERNELS_CUDA: got '${MATHKERNELS_CUDA}', needs AUTO, ON or OFF")
endif()
if(MATHKERNELS_CUDA STREQUAL "OFF")
  return()
endif()

include(CheckLanguage)
set(CMAKE_CUDA_ARCHITECTURES "80-real;90-real;100-real;100-virtual" CACHE STRING "CUDA architectures")
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  if(MATHKERNELS_CUDA STREQUAL "ON")
    message(FATAL_ERROR "MATHKERNELS_CUDA=ON: no nvcc found; install the CUDA toolkit (12.8 or newer) or set CUDACXX")
  endif()
  message(STATUS "No nvcc: the CUDA kernels are not built")
  return()
endif()
enable_language(CUDA)
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)

pybind11_add_module(_C_cuda NO_EXTRAS
    csrc/python/cuda_module.cpp
    csrc/cuda/device_program.cu
    csrc/cuda/train_nmu.cu
    csrc/cuda/train_real_npu.cu)
target_include_directories(_C_cuda PRIVATE csrc)
string(JOIN " " architectures ${CMAKE_CUDA_ARCHITECTURES})
target_compile_definitions(_C_cuda PRIVATE
    MK_ISA=cuda MK_VERSION="${MATHKERNELS_VERSION}" MK_CUDA_ARCHITECTURES="${architectures}"
    MK_CUDA_TOOLKIT="${CMAKE_CUDA_COMPILER_VERSION}")
# -fmad=false: as on the CPU, every fused multiply-add is written out.  1675: nvcc does not know gcc's unroll pragma.
# A kernel whose registers spill fails the build.
target_compile_options(_C_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:
    -fmad=false --expt-relaxed-constexpr -diag-suppress=1675 --threads=2 -Xptxas=-warn-spills,-Werror>)
set_target_properties(_C_cuda PROPERTIES CUDA_RUNTIME_LIBRARY Static)
install(TARGETS _C_cuda LIBRARY DESTINATION mathkernels)
