# SPDX-License-Identifier: Apache-2.0
# The libraries that elek needs. A missing one says what to install. scripts/test and scripts/demo install them on Debian.

macro(elek_require found what package)
  if(NOT ${found})
    message(FATAL_ERROR "elek needs ${what}: install it (Debian and Ubuntu: apt install ${package}) or run scripts/test, which does")
  endif()
endmacro()

find_package(Threads REQUIRED)
find_package(ZLIB QUIET)
elek_require(ZLIB_FOUND zlib zlib1g-dev)
find_package(nlohmann_json QUIET)
elek_require(nlohmann_json_FOUND nlohmann-json nlohmann-json3-dev)
find_package(CLI11 QUIET)
elek_require(CLI11_FOUND CLI11 libcli11-dev)
find_path(ELEK_STB_INCLUDE stb/stb_image.h)
elek_require(ELEK_STB_INCLUDE stb libstb-dev)
# An imported target, so that the exported targets hold only its name (cmake/elekConfig.cmake.in defines it again).
add_library(elek::stb INTERFACE IMPORTED GLOBAL)
target_include_directories(elek::stb SYSTEM INTERFACE ${ELEK_STB_INCLUDE})

# Optional: libjpeg-turbo decodes JPEG to the same pixels as Pillow. Other libraries of the same name give other pixels.
set(ELEK_HAS_JPEG OFF)
if(ELEK_JPEG)
  find_package(JPEG QUIET)
  if(JPEG_FOUND)
    include(CheckCXXSymbolExists)
    set(CMAKE_REQUIRED_INCLUDES ${JPEG_INCLUDE_DIRS})
    check_cxx_symbol_exists(LIBJPEG_TURBO_VERSION "cstddef;cstdio;jpeglib.h" ELEK_JPEG_IS_TURBO)
    unset(CMAKE_REQUIRED_INCLUDES)
    set(ELEK_HAS_JPEG ${ELEK_JPEG_IS_TURBO})
  endif()
  if(NOT ELEK_HAS_JPEG)
    message(STATUS "libjpeg-turbo was not found (Debian and Ubuntu: apt install libjpeg-dev): stb_image decodes JPEG, more slowly and to "
                   "slightly other pixels than Pillow's")
  endif()
endif()

# Vector code that picks its instruction set at run time: the CPU's kernels, and the refit's products (prune/dense_simd.cpp).
find_path(ELEK_HWY_INCLUDE hwy/highway.h)
find_library(ELEK_HWY_LIBRARY hwy)
elek_require(ELEK_HWY_LIBRARY Highway libhwy-dev)
add_library(elek::highway INTERFACE IMPORTED GLOBAL)
target_include_directories(elek::highway SYSTEM INTERFACE ${ELEK_HWY_INCLUDE})
target_link_libraries(elek::highway INTERFACE ${ELEK_HWY_LIBRARY})

set(ELEK_HAS_ONEDNN OFF)
if(ELEK_CPU AND ELEK_ONEDNN)
  find_package(OpenMP QUIET COMPONENTS CXX)  # its only user is oneDNN
  elek_require(OpenMP_CXX_FOUND OpenMP g++)
  find_package(dnnl QUIET)
  elek_require(dnnl_FOUND "oneDNN (or configure with -DELEK_ONEDNN=OFF)" libdnnl-dev)
  set(ELEK_HAS_ONEDNN ON)
endif()
if(ELEK_TESTS)
  find_package(GTest QUIET)
  elek_require(GTest_FOUND GoogleTest "libgtest-dev libgmock-dev")
endif()
if(ELEK_BENCH)
  find_package(benchmark QUIET)
  elek_require(benchmark_FOUND "Google Benchmark" libbenchmark-dev)
endif()
