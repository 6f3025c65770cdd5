# SPDX-License-Identifier: Apache-2.0
# cmake -DKIND=static|shared -DBUILD=... -DSOURCE=... -DWORK=... -DCOMPILER=... -DC_COMPILER=... -DPKG_CONFIG=... -P check.cmake:
# installs elek's library of that kind into an empty prefix, builds the consumers against it, with CMake and with pkg-config, and
# runs them. Any step that fails fails the test.
file(REMOVE_RECURSE ${WORK})

function(step)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    list(JOIN ARGV " " words)
    message(FATAL_ERROR "${words}\nended with ${result}:\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

function(expect regex)
  if(NOT output MATCHES "${regex}")
    message(FATAL_ERROR "expected ${regex}, got: ${output}")
  endif()
endfunction()

foreach(component elek_common elek_data elek_${KIND} elek_command)
  step(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix --component ${component})
endforeach()
file(GLOB_RECURSE libraries RELATIVE ${WORK}/prefix ${WORK}/prefix/*/libelek*)
if(KIND STREQUAL static AND libraries MATCHES "\\.so" OR KIND STREQUAL shared AND libraries MATCHES "\\.a(;|$)")
  message(FATAL_ERROR "the ${KIND} package holds: ${libraries}")
endif()

# Public headers alone are installed, each complete in itself.
file(GLOB_RECURSE headers RELATIVE ${WORK}/prefix/include ${WORK}/prefix/include/*)
foreach(header IN LISTS headers)
  if(NOT header MATCHES "^elek/(ops/)?[a-z0-9_]+\\.h$")
    message(FATAL_ERROR "the package installs ${header}, which is no public header")
  endif()
endforeach()

# The prefix is moved after the installation: nothing in it may know where it was.
file(RENAME ${WORK}/prefix ${WORK}/moved)
set(prefix ${WORK}/moved)
step(${CMAKE_COMMAND} -S ${SOURCE} -B ${WORK}/build -DCMAKE_PREFIX_PATH=${prefix} -DCMAKE_CXX_COMPILER=${COMPILER}
     -DCMAKE_C_COMPILER=${C_COMPILER} -DCMAKE_BUILD_TYPE=Release)
step(${CMAKE_COMMAND} --build ${WORK}/build)
step(${WORK}/build/consumer_c)
expect("consumer_c: elek [0-9.]+, no model: /nowhere")
step(${WORK}/build/consumer)
expect("consumer: [0-9]+ parameters, [0-9]+ after pruning")
# The examples are a project of their own, too.
step(${CMAKE_COMMAND} -S ${SOURCE}/../../examples -B ${WORK}/examples -DCMAKE_PREFIX_PATH=${prefix} -DCMAKE_CXX_COMPILER=${COMPILER}
     -DCMAKE_C_COMPILER=${C_COMPILER})
step(${CMAKE_COMMAND} --build ${WORK}/examples)
step(${prefix}/bin/elek --version)
expect("^elek [0-9]+\\.[0-9]+\\.[0-9]+")

if(PKG_CONFIG)
  file(GLOB_RECURSE pc ${prefix}/*/elek.pc)
  get_filename_component(pc_folder ${pc} DIRECTORY)
  step(${CMAKE_COMMAND} -E env PKG_CONFIG_PATH=${pc_folder} ${PKG_CONFIG} --cflags --libs elek)
  separate_arguments(flags UNIX_COMMAND "${output}")
  get_filename_component(library_folder ${pc_folder} DIRECTORY)
  step(${C_COMPILER} -std=c99 ${SOURCE}/main.c -o ${WORK}/by_pkg_config ${flags} -Wl,-rpath,${library_folder})
  step(${WORK}/by_pkg_config)
  expect("consumer_c: elek [0-9.]+, no model: /nowhere")
endif()
if(KIND STREQUAL shared)
  # No path of the machine that built it.
  file(GLOB_RECURSE library ${prefix}/*/libelek.so)
  step(${CMAKE_COMMAND} -E env LC_ALL=C readelf -d ${library})
  if(output MATCHES "R(UN)?PATH")
    message(FATAL_ERROR "libelek.so carries a search path:\n${output}")
  endif()
  expect("SONAME.*libelek\\.so\\.[0-9]+\\.[0-9]+]")
endif()
file(REMOVE_RECURSE ${WORK})
