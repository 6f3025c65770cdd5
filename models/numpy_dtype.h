// SPDX-License-Identifier: Apache-2.0
// NumPy's type codes, as .npy files and pickled arrays have them. Tests: tests/models/torch_file_test.cpp
#pragma once

#include <array>
#include <string_view>
#include <utility>

namespace elek::detail {

/// The type of a code with its byte order ("<f4", "|u1") as safetensors spells it. Empty for one that elek does not read, such
/// as big-endian numbers.
[[nodiscard]] inline std::string_view dtype_of_numpy(std::string_view code) {
  using Pair = std::pair<std::string_view, std::string_view>;
  constexpr std::array kTypes = {Pair{"f4", "F32"},  Pair{"f2", "F16"}, Pair{"f8", "F64"}, Pair{"i8", "I64"},
                                 Pair{"i4", "I32"},  Pair{"i2", "I16"}, Pair{"i1", "I8"},  Pair{"u1", "U8"},
                                 Pair{"b1", "BOOL"}, Pair{"u2", "U16"}, Pair{"u4", "U32"}, Pair{"u8", "U64"}};
  if (code.size() != 3 || code[0] == '>') return {};
  for (const Pair& type : kTypes)
    if (type.first == code.substr(1)) return type.second;
  return {};
}

}  // namespace elek::detail
