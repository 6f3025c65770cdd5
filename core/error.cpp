// SPDX-License-Identifier: Apache-2.0
// Texts of errors that contain numbers. Tests: tests/unit/base_test.cpp
#include "core/error.h"

#include <array>
#include <cstdio>
#include <string_view>

namespace elek {
namespace {

std::string describe(const std::string& what, const OutOfMemory::Figures& figures) {
  std::string text = what + ": requested " + bytes_text(figures.requested_bytes);
  if (figures.peak_bytes > 0) text += ", in use " + bytes_text(figures.in_use_bytes);  // else: refused before the work
  if (figures.limit_bytes > 0) text += ", limit " + bytes_text(figures.limit_bytes);
  if (figures.largest_free_bytes > 0) text += ", largest free block " + bytes_text(figures.largest_free_bytes);
  return text;
}

}  // namespace

std::string bytes_text(size_t bytes) {
  std::string digits = std::to_string(bytes);
  for (size_t end = digits.size(); end > 3; end -= 3) digits.insert(end - 3, 1, ',');
  if (bytes < 100'000) return digits + (bytes == 1 ? " byte" : " bytes");
  const double megabytes = static_cast<double>(bytes) / 1e6;
  std::array<char, 40> text{};
  (void)std::snprintf(text.data(), text.size(), "%.*f MB", megabytes < 1 ? 3 : megabytes < 10 ? 2 : 1, megabytes);
  return std::string(text.data()) + " (" + digits + " bytes)";
}

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
