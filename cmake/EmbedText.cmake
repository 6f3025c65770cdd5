# SPDX-License-Identifier: Apache-2.0
# Writes a C++ source that holds text files as constants: cmake -DOUT=FILE -DNAMESPACE=NAME -DFILES="kA=a.js|kB=b.css" -P EmbedText.cmake
# makes `extern const char* const kA` and `kB`. The files stay apart in the source, where tools for their languages read them.
string(REPLACE "|" ";" files "${FILES}")
set(made "// Made by cmake/EmbedText.cmake.\nnamespace ${NAMESPACE} {\n")
foreach(file IN LISTS files)
  string(REGEX MATCH "^[^=]+" name ${file})
  string(REGEX REPLACE "^[^=]+=" "" file ${file})
  file(READ ${file} text)
  if(text MATCHES "\\)embedded\"")
    message(FATAL_ERROR "${file}: contains )embedded\", which ends the text in the C++ source; write it in another way")
  endif()
  string(APPEND made "extern const char* const ${name};\nconst char* const ${name} = R\"embedded(${text})embedded\";\n")
endforeach()
file(WRITE ${OUT} "${made}}\n")
