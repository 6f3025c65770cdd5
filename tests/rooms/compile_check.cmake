# SPDX-License-Identifier: Apache-2.0
# cmake -DCOMPILER=… -DROOTS=a|b -DALLOWED=header -DFORBIDDEN=h;h -DWORK=… -P compile_check.cmake: with these include roots the
# allowed header compiles and each forbidden one does not, because it is not found (any other error fails the test too).
string(REPLACE "|" ";" roots "${ROOTS}")
list(TRANSFORM roots PREPEND -I)
file(MAKE_DIRECTORY ${WORK})

function(compile header)
  file(WRITE ${WORK}/include_it.cpp "#include \"${header}\"\nint main() { return 0; }\n")
  execute_process(COMMAND ${COMPILER} -std=c++20 -fsyntax-only ${roots} ${WORK}/include_it.cpp
                  RESULT_VARIABLE result ERROR_VARIABLE errors OUTPUT_VARIABLE errors)
  set(result ${result} PARENT_SCOPE)
  set(errors "${errors}" PARENT_SCOPE)
endfunction()

compile(${ALLOWED})
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${ALLOWED} should compile here:\n${errors}")
endif()
foreach(header IN LISTS FORBIDDEN)
  compile(${header})
  if(result EQUAL 0)
    message(FATAL_ERROR "${header} lies above this room, and including it compiles: a target in CMakeLists.txt sees too much")
  endif()
  if(NOT errors MATCHES "${header}.*(No such file|not found)")
    message(FATAL_ERROR "${header} was to be not found; instead:\n${errors}")
  endif()
endforeach()
