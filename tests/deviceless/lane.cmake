# SPDX-License-Identifier: Apache-2.0
# The CUDA lane of a build without CUDA: cmake -DSOURCE= -DWORK= -DGENERATOR= -DLAUNCHER= -P lane.cmake
# Configures and builds with ELEK_CUDA=ON for sm_80, 90 and 120, warnings as errors, and runs the deviceless tests, which
# need no GPU. ELEK_CUDA_ARCHITECTURES in the environment takes others ("75;80;86;87;89;90;100;120").
find_program(nvcc nvcc PATHS /usr/local/cuda/bin)
if(NOT nvcc)
  message("skipped: no CUDA compiler (nvcc) here")
  return()
endif()
find_path(cudnn cudnn_version.h PATHS /usr/local/cuda/include)
if(NOT cudnn)
  message("skipped: no cuDNN headers (cudnn_version.h) here")
  return()
endif()
set(architectures "80;90;120")
if(NOT "$ENV{ELEK_CUDA_ARCHITECTURES}" STREQUAL "")
  set(architectures "$ENV{ELEK_CUDA_ARCHITECTURES}")
endif()
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    string(JOIN " " words ${ARGN})
    message(FATAL_ERROR "failed (${status}): ${words}")
  endif()
endfunction()
string(REPLACE ";" "\\;" escaped "${architectures}")
run(${CMAKE_COMMAND} -S ${SOURCE} -B ${WORK} -G "${GENERATOR}" -DCMAKE_BUILD_TYPE=Release -DELEK_CUDA=ON -DELEK_CPU=OFF -DELEK_BENCH=OFF
    -DELEK_WERROR=ON "-DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER}" "-DCMAKE_CUDA_COMPILER_LAUNCHER=${LAUNCHER}"
    "-DCMAKE_CUDA_ARCHITECTURES=${escaped}")
cmake_host_system_information(RESULT cores QUERY NUMBER_OF_LOGICAL_CORES)
run(${CMAKE_COMMAND} --build ${WORK} --parallel ${cores} --target elek test_deviceless test_gpu_engine test_gpu_kernels gpu_questions)
run(${CMAKE_CTEST_COMMAND} --test-dir ${WORK} -L deviceless -LE slow --no-tests=error --output-on-failure)
