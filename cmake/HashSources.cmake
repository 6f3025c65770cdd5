# SPDX-License-Identifier: Apache-2.0
# Writes a header with a hash of source files, so that results which depend on their speed are used only for the same sources.
#   cmake -DSOURCES="a.cpp;b.h" -DBUILT_WITH=TEXT -DNAME=kConstant -DOUTPUT=FILE -P HashSources.cmake
# Hashes the files' names without folders, their contents, and TEXT (compiler and flags), but neither their order nor their
# folders.
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
