# SPDX-License-Identifier: Apache-2.0
# Finds cuDNN's headers, version and library. elek does not link cuDNN: it opens libcudnn.so.9 when a CUDA device is first used. So
# the same binary runs on the CPU if cuDNN or the driver is missing.
# Defines Cudnn_FOUND, Cudnn_VERSION, Cudnn_LIBRARY (if NOTFOUND, it must be on the loader's path) and elek::cudnn.
# Hints: CUDNN_ROOT, and the CUDA toolkit's own folders.
find_path(Cudnn_INCLUDE_DIR cudnn_version.h HINTS ${CUDNN_ROOT} $ENV{CUDNN_ROOT} ${CUDAToolkit_INCLUDE_DIRS}
          PATH_SUFFIXES include)
find_library(Cudnn_LIBRARY NAMES libcudnn.so.9 cudnn HINTS ${CUDNN_ROOT} $ENV{CUDNN_ROOT} ${CUDAToolkit_LIBRARY_DIR}
             PATH_SUFFIXES lib lib64)
if(Cudnn_INCLUDE_DIR)
  file(STRINGS ${Cudnn_INCLUDE_DIR}/cudnn_version.h lines REGEX "#define CUDNN_(MAJOR|MINOR|PATCHLEVEL) ")
  foreach(part MAJOR MINOR PATCHLEVEL)
    string(REGEX MATCH "CUDNN_${part} ([0-9]+)" unused "${lines}")
    set(Cudnn_${part} ${CMAKE_MATCH_1})
  endforeach()
  set(Cudnn_VERSION ${Cudnn_MAJOR}.${Cudnn_MINOR}.${Cudnn_PATCHLEVEL})
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Cudnn REQUIRED_VARS Cudnn_INCLUDE_DIR VERSION_VAR Cudnn_VERSION)
mark_as_advanced(Cudnn_INCLUDE_DIR Cudnn_LIBRARY)
if(Cudnn_FOUND AND NOT TARGET elek::cudnn)
  add_library(elek::cudnn INTERFACE IMPORTED GLOBAL)
  target_include_directories(elek::cudnn SYSTEM INTERFACE ${Cudnn_INCLUDE_DIR})
endif()
