# SPDX-License-Identifier: Apache-2.0
# Install rules and the CMake package `elek`: every layer's library, headers under include/elek/<folder>, the shipped data.
# A consumer writes find_package(elek) and links elek::elek. Tests: tests/consumer (installs, builds and runs one).
include(CMakePackageConfigHelpers)

get_property(elek_layers GLOBAL PROPERTY ELEK_LAYERS)
get_property(elek_paths GLOBAL PROPERTY ELEK_LAYER_PATHS)

# The umbrella: all that a user of the library includes. Backends and kernels come along as libraries, not as headers.
add_library(elek_umbrella INTERFACE)
set_target_properties(elek_umbrella PROPERTIES EXPORT_NAME elek)
target_link_libraries(elek_umbrella INTERFACE elek_engine elek_models elek_data elek_prune)
add_library(elek::elek ALIAS elek_umbrella)

install(TARGETS ${elek_layers} elek_umbrella EXPORT elekTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
foreach(path IN LISTS elek_paths)
  if(NOT path MATCHES "^(kernels|backends|lab)(/|$)")
    install(DIRECTORY ${PROJECT_SOURCE_DIR}/${path} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/elek FILES_MATCHING PATTERN "*.h")
  endif()
endforeach()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/data/fashion-mnist DESTINATION ${CMAKE_INSTALL_DATADIR}/elek)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(elek_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/elek)
install(EXPORT elekTargets NAMESPACE elek:: DESTINATION ${elek_package_dir})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/elekConfig.cmake.in ${PROJECT_BINARY_DIR}/elekConfig.cmake
                              INSTALL_DESTINATION ${elek_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/elekConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/elekConfig.cmake ${PROJECT_BINARY_DIR}/elekConfigVersion.cmake DESTINATION ${elek_package_dir})
