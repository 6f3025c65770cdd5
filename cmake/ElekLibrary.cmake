# SPDX-License-Identifier: Apache-2.0
# The library that users of elek link: elek::elek, made of the layers' objects. BUILD_SHARED_LIBS chooses libelek.so or
# libelek.a (the default). Both targets exist in every build, so the tests can check both; each object is compiled once. The
# command and the tests of internals link the layers, because libelek.so hides what they use.
get_property(elek_layers GLOBAL PROPERTY ELEK_LAYERS)
list(REMOVE_ITEM elek_layers elek_lab)  # for teaching; only the command uses it

set(elek_objects "")
set(elek_libraries "")
foreach(layer IN LISTS elek_layers)
  get_target_property(type ${layer} TYPE)
  if(NOT type STREQUAL INTERFACE_LIBRARY)
    list(APPEND elek_objects $<TARGET_OBJECTS:${layer}>)
    get_property(libraries GLOBAL PROPERTY ELEK_LIBRARIES_OF_${layer})
    list(APPEND elek_libraries ${libraries})
  endif()
endforeach()
list(REMOVE_DUPLICATES elek_libraries)
list(REMOVE_ITEM elek_libraries elek::stb nlohmann_json::nlohmann_json)  # headers only: nothing to link

function(elek_library name kind)
  add_library(${name} ${kind} ${elek_objects})
  elek_own_code(${name})
  set_target_properties(${name} PROPERTIES OUTPUT_NAME elek EXPORT_NAME elek LINKER_LANGUAGE CXX)
  target_compile_features(${name} INTERFACE cxx_std_20)
  target_include_directories(${name} INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                             $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(${name} PRIVATE ${elek_libraries})
endfunction()

elek_library(elek_static STATIC)
elek_library(elek_shared SHARED)
# The ABI may change between 0.x releases, but not between 0.2.0 and 0.2.1: the file name shows which.
set_target_properties(elek_shared PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
                      LINK_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/exports.map)
# Hidden symbols stay hidden. The map also hides the instances of the standard library's templates.
target_link_options(elek_shared PRIVATE LINKER:--version-script=${CMAKE_CURRENT_LIST_DIR}/exports.map)
if(NOT ELEK_SANITIZE)  # clang leaves a sanitizer's symbols undefined; the program has them
  target_link_options(elek_shared PRIVATE LINKER:--no-undefined)
endif()

if(BUILD_SHARED_LIBS)
  add_library(elek::elek ALIAS elek_shared)
  set_target_properties(elek_static PROPERTIES EXCLUDE_FROM_ALL ON)
else()
  add_library(elek::elek ALIAS elek_static)
  if(NOT ELEK_TESTS)
    set_target_properties(elek_shared PROPERTIES EXCLUDE_FROM_ALL ON)
  endif()
endif()
