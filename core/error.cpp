// SPDX-License-Identifier: Apache-2.0
// Texts of errors that contain numbers. Tests: tests/unit/base_test.cpp
#include "core/error.h"

#include <string_view>

namespace elek {
namespace {

std::string describe(const std::string& what, const OutOfMemory::Figures& figures) {
  std::string text = what + ": requested " + std::to_string(figures.requested_bytes) + " bytes";
  if (figures.peak_bytes > 0) {  // a refusal before the work knows no use
    text +=
        ", in use " + std::to_string(figures.in_use_bytes) + " bytes, peak " + std::to_string(figures.peak_bytes) + " bytes";
  }
  if (figures.limit_bytes > 0) {
    text += ", limit " + std::to_string(figures.limit_bytes) + " bytes";
  }
  if (figures.largest_free_bytes > 0) {
    text += ", largest free block " + std::to_string(figures.largest_free_bytes) + " bytes";
  }
  return text;
}

}  // namespace

OutOfMemory::OutOfMemory(const std::string& what, const Figures& figures)
    : Error(4, describe(what, figures)), reason_(what), figures_(figures) {}

namespace detail {

void throw_contract(const char* file, int line, const char* condition, const std::string& message) {
  std::string_view name(file);  // only the file's name: the path of the build means nothing to a reader
  if (const size_t slash = name.find_last_of("/\\"); slash != std::string_view::npos) {
    name.remove_prefix(slash + 1);
  }
  throw ContractError(message + " [" + std::string(name) + ":" + std::to_string(line) + ": " + condition + "]");
}

}  // namespace detail
}  // namespace elek
