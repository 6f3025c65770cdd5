# SPDX-License-Identifier: Apache-2.0
# cudnn_frontend, headers only. Taken from the system if it is new enough there, else from the wheel nvidia-cudnn-frontend, which
# pip downloads into the build tree once (nothing of it is installed or run).
# Defines CudnnFrontend_FOUND, CudnnFrontend_VERSION and elek::cudnn_frontend. Hint: CUDNN_FRONTEND_INCLUDE_DIR.
set(elek_frontend_wheel 1.32.0)  # the version that elek is compiled and tested with

function(elek_frontend_version directory out)
  set(version 0)
  if(EXISTS ${directory}/cudnn_frontend_version.h)
    file(STRINGS ${directory}/cudnn_frontend_version.h lines REGEX "#define CUDNN_FRONTEND_(MAJOR|MINOR|PATCH)_VERSION ")
    string(REGEX REPLACE "[^0-9;]" "" version "${lines}")
    string(REPLACE ";" "." version "${version}")
  endif()
  set(${out} ${version} PARENT_SCOPE)
endfunction()

find_path(CUDNN_FRONTEND_INCLUDE_DIR cudnn_frontend.h HINTS ${CUDAToolkit_INCLUDE_DIRS} PATH_SUFFIXES include)
set(elek_frontend_include ${CUDNN_FRONTEND_INCLUDE_DIR})
if(elek_frontend_include)
  elek_frontend_version(${elek_frontend_include} CudnnFrontend_VERSION)
  if(CudnnFrontend_VERSION VERSION_LESS CudnnFrontend_FIND_VERSION)
    message(STATUS "cudnn_frontend ${CudnnFrontend_VERSION} in ${elek_frontend_include} is older than ${CudnnFrontend_FIND_VERSION}")
    set(elek_frontend_include "")
  endif()
endif()

if(NOT elek_frontend_include)
  set(elek_frontend_directory ${PROJECT_BINARY_DIR}/cudnn_frontend-${elek_frontend_wheel})
  if(NOT EXISTS ${elek_frontend_directory}/include/cudnn_frontend.h)
    message(STATUS "cudnn_frontend: downloading the headers of nvidia-cudnn-frontend ${elek_frontend_wheel} with pip")
    find_package(Python3 QUIET COMPONENTS Interpreter)
    set(elek_frontend_error "python3 was not found")
    if(Python3_FOUND)
      # Every wheel has the same headers. One named platform makes the choice the same on every machine.
      execute_process(COMMAND ${Python3_EXECUTABLE} -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.11
                              --platform manylinux_2_28_x86_64 --dest ${elek_frontend_directory}
                              nvidia-cudnn-frontend==${elek_frontend_wheel}
                      RESULT_VARIABLE elek_frontend_status OUTPUT_VARIABLE unused ERROR_VARIABLE elek_frontend_error TIMEOUT 300)
      file(GLOB elek_frontend_wheels ${elek_frontend_directory}/*.whl)
      if(elek_frontend_status EQUAL 0 AND elek_frontend_wheels)
        file(ARCHIVE_EXTRACT INPUT ${elek_frontend_wheels} DESTINATION ${elek_frontend_directory} PATTERNS "include/*")
        file(REMOVE ${elek_frontend_wheels})
      endif()
    endif()
  endif()
  if(EXISTS ${elek_frontend_directory}/include/cudnn_frontend.h)
    set(elek_frontend_include ${elek_frontend_directory}/include)
    elek_frontend_version(${elek_frontend_include} CudnnFrontend_VERSION)
  else()
    string(STRIP "${elek_frontend_error}" elek_frontend_error)
    set(CudnnFrontend_NOT_FOUND_MESSAGE
        "neither on this system nor to be had from pip (${elek_frontend_error}). Offline: unpack the wheel nvidia-cudnn-frontend "
        "${elek_frontend_wheel} and configure with -DCUDNN_FRONTEND_INCLUDE_DIR=<its include folder>, or with -DELEK_CUDA=OFF")
    string(REPLACE ";" "" CudnnFrontend_NOT_FOUND_MESSAGE "${CudnnFrontend_NOT_FOUND_MESSAGE}")
  endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(CudnnFrontend REQUIRED_VARS elek_frontend_include VERSION_VAR CudnnFrontend_VERSION
                                  REASON_FAILURE_MESSAGE "${CudnnFrontend_NOT_FOUND_MESSAGE}")
if(CudnnFrontend_FOUND AND NOT TARGET elek::cudnn_frontend)
  add_library(elek::cudnn_frontend INTERFACE IMPORTED GLOBAL)
  target_include_directories(elek::cudnn_frontend SYSTEM INTERFACE ${elek_frontend_include})
  target_compile_definitions(elek::cudnn_frontend INTERFACE NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING)
endif()
