# SPDX-License-Identifier: Apache-2.0
# cmake "-DCOMMAND=program|argument|..." -DIMAGES=FILE.gz -DEXPECT=REGEX -P embedded_check.cmake: the program reads the first six
# images of an IDX file (16 bytes of header) from its standard input, names the classes that the labels give, and prints EXPECT.
string(REPLACE "|" ";" command "${COMMAND}")
execute_process(COMMAND gzip -dc ${IMAGES} COMMAND tail -c +17 COMMAND head -c 4704 COMMAND ${command}
                RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE errors)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "ended with ${result}:\n${output}${errors}")
endif()
set(labels "0: class 9, Ankle boot\n1: class 2, Pullover\n2: class 1, Trouser\n3: class 1, Trouser\n4: class 6, Shirt\n5: class 1, Trouser\n6 frames; ")
if(NOT output MATCHES "^${labels}${EXPECT}")
  message(FATAL_ERROR "expected\n${labels}${EXPECT}\ngot\n${output}")
endif()
message(STATUS "${output}")
