# SPDX-License-Identifier: Apache-2.0
# Writes a header with a hash of source files: what depends on how fast they run can tell whether they are still the same.
#   cmake -DSOURCES="a.cpp;b.h" -DBUILT_WITH=TEXT -DNAME=kConstant -DOUTPUT=FILE -P HashSources.cmake
# Hashed are the files' names without folders, their contents, and TEXT (compiler and flags); not their order or where they lie.
# Tests: tests/backends/hash_sources_check.cmake
set(lines "")
foreach(source IN LISTS SOURCES)
  get_filename_component(name "${source}" NAME)
  file(SHA256 "${source}" hash)
  list(APPEND lines "${name} ${hash}")
endforeach()
list(SORT lines)
string(SHA256 hash "${BUILT_WITH} ${lines}")
string(SUBSTRING "${hash}" 0 16 hash)
file(WRITE "${OUTPUT}" "// Made by cmake/HashSources.cmake.
#pragma once
namespace elek {
inline constexpr const char* ${NAME} = \"${hash}\";
}
")
