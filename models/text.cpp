// SPDX-License-Identifier: Apache-2.0
#include "models/text.h"

#include <algorithm>

namespace elek::detail {

std::string in_quotes(std::string_view name) {
  constexpr size_t kMax = 120;
  std::string text = "\"";
  for (const char c : name.substr(0, kMax)) text += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return text + (name.size() > kMax ? "…\"" : "\"");
}

std::string shape_text(std::span<const int64_t> shape) {
  std::string text = "[";
  for (const int64_t dim : shape) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(dim);
  }
  return text + "]";
}

bool leaves_folder(std::string_view path) {
  if (path.starts_with('/')) return true;
  for (size_t at = 0; at <= path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    if (path.substr(at, end - at) == "..") return true;
    at = end + 1;
  }
  return false;
}

}  // namespace elek::detail
