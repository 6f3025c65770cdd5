# SPDX-License-Identifier: Apache-2.0
# Install rules, the CMake package `elek` and elek.pc. A consumer writes find_package(elek) and links elek::elek, or asks
# pkg-config for elek. `cmake --install` installs the library that BUILD_SHARED_LIBS chose. The other one installs only when its
# component (elek_static, elek_shared) is named: so one build tree serves a package of either kind.
# Tests: tests/consumer (installs both, builds and runs programs against them)
include(CMakePackageConfigHelpers)

set(elek_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/elek)

# Headers and the package file are the same for both kinds. Only include/elek is installed.
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/elek DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT elek_common)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/data/fashion-mnist DESTINATION ${CMAKE_INSTALL_DATADIR}/elek COMPONENT elek_data)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT elek_common)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/elekConfig.cmake.in ${PROJECT_BINARY_DIR}/elekConfig.cmake
                              INSTALL_DESTINATION ${elek_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/elekConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/elekConfig.cmake ${PROJECT_BINARY_DIR}/elekConfigVersion.cmake
        DESTINATION ${elek_package_dir} COMPONENT elek_common)

# Libraries that a program with libelek.a must link too, for pkg-config. OpenMP's flag brings its library.
set(elek_pc_libraries -lz ${ELEK_HWY_LIBRARY} -pthread -lstdc++ -lm)
if(ELEK_HAS_JPEG)
  list(APPEND elek_pc_libraries -ljpeg)
endif()
if(ELEK_HAS_ONEDNN)
  list(APPEND elek_pc_libraries -ldnnl ${OpenMP_CXX_FLAGS})
endif()
if(ELEK_CUDA)
  list(APPEND elek_pc_libraries -L${CUDAToolkit_LIBRARY_DIR} -lcudart -lcublasLt -ldl)
endif()
list(JOIN elek_pc_libraries " " elek_pc_libraries)

file(RELATIVE_PATH ELEK_PC_UP "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")  # from elek.pc to the prefix: the tree may be moved

# elek_install(KIND LIBRARIES): the library, its CMake targets, and its elek.pc, whose users link LIBRARIES too.
function(elek_install kind libraries)
  set(left_out EXCLUDE_FROM_ALL)
  if(kind STREQUAL elek_shared AND BUILD_SHARED_LIBS OR kind STREQUAL elek_static AND NOT BUILD_SHARED_LIBS)
    set(left_out "")
  endif()
  set(ELEK_PC_LIBRARIES "${libraries}")
  configure_file(${PROJECT_SOURCE_DIR}/cmake/elek.pc.in ${PROJECT_BINARY_DIR}/${kind}/elek.pc @ONLY)
  install(TARGETS ${kind} EXPORT ${kind}Targets
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT ${kind} ${left_out}
          LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT ${kind} NAMELINK_COMPONENT ${kind} ${left_out})
  install(EXPORT ${kind}Targets NAMESPACE elek:: DESTINATION ${elek_package_dir} COMPONENT ${kind} ${left_out})
  install(FILES ${PROJECT_BINARY_DIR}/${kind}/elek.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT ${kind} ${left_out})
endfunction()
elek_install(elek_static "${elek_pc_libraries}")
elek_install(elek_shared "")
