# SPDX-License-Identifier: Apache-2.0
# One CMake target per folder. A forbidden include does not compile: each target's include root holds a link to its own folder
# only. So only targets that link elek_prune find `#include "prune/apply.h"`. A room's public headers are in include/elek. FACE
# names them, and targets that link the room find them as "elek/…".

# elek_layer(NAME PATH [FACE headers...] [DEPENDS targets...] [PRIVATE targets...] [SOURCES files...]): a static library of PATH/*.cpp,
# or of SOURCES.
function(elek_layer name path)
  cmake_parse_arguments(ARG "" "" "FACE;DEPENDS;PRIVATE;SOURCES" ${ARGN})
  set(sources ${ARG_SOURCES})
  if(NOT sources)
    file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${path}/*.cpp)
  endif()
  set(root ${PROJECT_BINARY_DIR}/layers/${name})
  get_filename_component(parent ${path} DIRECTORY)
  file(MAKE_DIRECTORY ${root}/${parent})
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/${path} ${root}/${path} SYMBOLIC)
  foreach(header IN LISTS ARG_FACE)
    file(MAKE_DIRECTORY ${root}/elek)
    file(CREATE_LINK ${PROJECT_SOURCE_DIR}/include/elek/${header} ${root}/elek/${header} SYMBOLIC)
  endforeach()
  if(sources)
    add_library(${name} STATIC ${sources})
    set(scope PUBLIC)
    target_link_libraries(${name} PRIVATE ${ARG_PRIVATE})
    set(libraries ${ARG_PRIVATE})
    list(FILTER libraries EXCLUDE REGEX "^elek_")
    set_property(GLOBAL PROPERTY ELEK_LIBRARIES_OF_${name} ${libraries})  # of others; cmake/ElekLibrary.cmake links them
    elek_own_code(${name})
    # libelek.so is made of these objects, and exports only what ELEK_API (include/elek/export.h) marks.
    set_target_properties(${name} PROPERTIES CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON CUDA_VISIBILITY_PRESET hidden)
  else()
    add_library(${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(${name} ${scope} $<BUILD_INTERFACE:${root}>)
  target_compile_features(${name} ${scope} cxx_std_20)
  target_link_libraries(${name} ${scope} ${ARG_DEPENDS})
  string(REPLACE "elek_" "" export_name ${name})
  set_target_properties(${name} PROPERTIES EXPORT_NAME ${export_name})
  add_library(elek::${export_name} ALIAS ${name})
  set_property(GLOBAL APPEND PROPERTY ELEK_LAYERS ${name})
endfunction()

# elek_small(TARGET): code that never runs long. Its size counts in the static command, which is copied to boards.
function(elek_small target)
  if(ELEK_STATIC)
    target_compile_options(${target} PRIVATE -Os)
  endif()
endfunction()

# Warnings and sanitizers for our own targets, never for dependencies.
function(elek_own_code target)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wconversion -Wshadow>)
  # GCC 12 sees an overlap that is not there in "literal" + std::to_string(n) (GCC bug 105651).
  target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
  if(ELEK_WERROR)
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
  endif()
  if(ELEK_SANITIZE)
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${ELEK_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer>)
    target_link_options(${target} PUBLIC -fsanitize=${ELEK_SANITIZE})
  endif()
endfunction()
