# SPDX-License-Identifier: Apache-2.0
# What a command without the CPU backend, on a machine without a GPU, can and cannot do, and that it says so:
# cmake -DELEK=<the command> -DWORK=<folder> -P left_out.cmake
# What needs no device works. What needs one ends with exit code 5 and names the option of the build that is missing.
file(MAKE_DIRECTORY ${WORK})
set(model ${WORK}/left_out.safetensors)

# expect(CODE TEXT WORDS...): the command's exit code, and a part of what it writes to standard error
function(expect code text)
  execute_process(COMMAND ${ELEK} ${ARGN} RESULT_VARIABLE status OUTPUT_QUIET ERROR_VARIABLE said)
  string(JOIN " " words ${ARGN})
  if(NOT status EQUAL code)
    message(SEND_ERROR "elek ${words}: exit code ${status}, expected ${code}\n${said}")
  endif()
  string(FIND "${said}" "${text}" found)
  if(found EQUAL -1)
    message(SEND_ERROR "elek ${words}: does not say \"${text}\"\n${said}")
  endif()
endfunction()

expect(0 "" prepare --arch cifar_resnet20 --random 1 --out ${model})
expect(0 "" info --model ${model})
expect(5 "-DELEK_CPU=ON" eval --model ${model} --data synthetic:2 --device cpu)
expect(5 "device cpu: the CPU backend is not built in" bench --model ${model} --device cpu)
execute_process(COMMAND ${ELEK} eval --model ${model} --data synthetic:2 --batch 2 --device cuda:0 RESULT_VARIABLE on_gpu OUTPUT_QUIET ERROR_QUIET)
if(on_gpu EQUAL 0)
  message("there is a GPU here: what is said without one was not looked at")
else()
  expect(5 "device cuda:0: " eval --model ${model} --data synthetic:2 --device cuda)
  expect(5 "-DELEK_CPU=ON" eval --model ${model} --data synthetic:2 --device auto)
  expect(5 "elek: --device auto uses the CPU: " eval --model ${model} --data synthetic:2)
endif()
