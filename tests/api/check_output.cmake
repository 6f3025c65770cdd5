# SPDX-License-Identifier: Apache-2.0
# cmake "-DCOMMAND=program|argument|..." -DEXPECT=REGEX -P check_output.cmake: the command ends with 0, and what it writes on
# standard output matches.
string(REPLACE "|" ";" command "${COMMAND}")
execute_process(COMMAND ${command} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE errors)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "ended with ${result}:\n${output}${errors}")
endif()
if(NOT output MATCHES "${EXPECT}")
  message(FATAL_ERROR "expected output that matches\n${EXPECT}\ngot\n${output}")
endif()
