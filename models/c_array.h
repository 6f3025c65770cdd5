// SPDX-License-Identifier: Apache-2.0
// A model file as a C header, for programs that contain their network: the file's bytes as an array, the shapes, the options of
// the session, and the size of the one block of memory that it needs. Tests: tests/models/c_array_test.cpp, tests/api
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "elek/types.h"

namespace elek {

struct CArray {
  std::string name;                   // what every name in the header begins with; a C identifier
  std::string source{};               // the file that the bytes are of
  std::span<const std::byte> file{};  // a model file
  ImageShape input{};
  int64_t classes = 0;
  // The session's options and what they lead to.
  int64_t batch = 1;
  int threads = 1;
  Precision precision = Precision::kF32;
  bool deterministic = false;
  size_t block_bytes = 0;
  std::string kernels{};  // one of them, which names the instruction set: other instruction sets need other sizes
};

/// Whether `name` can begin names in C.
[[nodiscard]] bool is_c_identifier(const std::string& name);
/// Writes the header, whole or not at all. InputError if it cannot be written.
void save_c_array(const CArray& array, const std::string& path);

}  // namespace elek
