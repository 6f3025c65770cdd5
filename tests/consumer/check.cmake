# SPDX-License-Identifier: Apache-2.0
# cmake -DBUILD=… -DSOURCE=… -DWORK=… -DCOMPILER=… -P check.cmake: installs elek into an empty prefix, builds the
# consumer against it there, runs it and the installed command. Any step that fails fails the test.
file(REMOVE_RECURSE ${WORK})

function(step)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    list(JOIN ARGV " " words)
    message(FATAL_ERROR "${words}\nended with ${result}:\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

step(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix)
step(${CMAKE_COMMAND} -S ${SOURCE} -B ${WORK}/build -DCMAKE_PREFIX_PATH=${WORK}/prefix -DCMAKE_CXX_COMPILER=${COMPILER}
     -DCMAKE_BUILD_TYPE=Release)
step(${CMAKE_COMMAND} --build ${WORK}/build)
step(${WORK}/build/consumer)
if(NOT output MATCHES "consumer: [0-9]+ parameters, [0-9]+ after pruning")
  message(FATAL_ERROR "the consumer printed: ${output}")
endif()
step(${WORK}/prefix/bin/elek --version)
if(NOT output MATCHES "^elek [0-9]+\\.[0-9]+\\.[0-9]+")
  message(FATAL_ERROR "the installed command printed: ${output}")
endif()
file(REMOVE_RECURSE ${WORK})
