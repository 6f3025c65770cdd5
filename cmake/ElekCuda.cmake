# SPDX-License-Identifier: Apache-2.0
# Enables the CUDA language, for ELEK_CUDA=ON only. Included from the top folder, so that every folder knows language and toolkit.
# The compiler is nvcc, or clang with -DCMAKE_CUDA_COMPILER=clang++ and -DCUDAToolkit_ROOT=<the toolkit>.
# Architectures: for example -DCMAKE_CUDA_ARCHITECTURES=90. The default is three: Ampere, Hopper, Blackwell.
include(CheckLanguage)
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  find_program(ELEK_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
  if(ELEK_NVCC)
    set(CMAKE_CUDA_COMPILER ${ELEK_NVCC})
  endif()
endif()
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  message(FATAL_ERROR "ELEK_CUDA=ON needs a CUDA compiler: install the CUDA toolkit 12 or newer and put nvcc on PATH (or set "
                      "CUDACXX), or configure with -DELEK_CUDA=OFF")
endif()

set(elek_default_architectures FALSE)
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(elek_default_architectures TRUE)
  set(CMAKE_CUDA_ARCHITECTURES 80)  # for the compiler's own check
endif()
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)  # one runtime in the process, because cudnn_frontend opens the shared one
enable_language(CUDA)
if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that nvcc 12 and newer speak C++20
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
if(elek_default_architectures)
  set(CMAKE_CUDA_ARCHITECTURES 80 90)
  if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)  # the first that knows sm_120
    list(APPEND CMAKE_CUDA_ARCHITECTURES 120)
  endif()
endif()
find_package(CUDAToolkit 12 REQUIRED)
message(STATUS "elek: CUDA ${CMAKE_CUDA_COMPILER_VERSION} for architectures ${CMAKE_CUDA_ARCHITECTURES}")

# Warnings are always errors in our own .cu files: a warning of nvcc is rarely harmless, and it has few versions.
# -lineinfo costs nothing at run time and lets compute-sanitizer and ncu name lines.
function(elek_cuda_code target)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANG_AND_ID:CUDA,NVIDIA>:-Werror=all-warnings -lineinfo
                                           -Xcompiler=-Wall,-Wextra,-Wno-unused-parameter>)
  # clang warns that it did not unroll a loop, and unrolls it later.
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANG_AND_ID:CUDA,Clang>:-Werror -Wall -Wextra -Wno-unused-parameter
                                           -Wno-unknown-cuda-version -Wno-pass-failed -gline-tables-only>)
  set_target_properties(${target} PROPERTIES CUDA_STANDARD 20 CUDA_STANDARD_REQUIRED ON)
  target_link_libraries(${target} PUBLIC CUDA::cudart)
endfunction()
