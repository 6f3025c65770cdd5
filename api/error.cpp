// SPDX-License-Identifier: Apache-2.0
#include "api/error.h"

#include <cstring>

namespace elek::api {

void ErrorText::set(const char* text) noexcept {
  size_t bytes = std::strlen(text);
  if (bytes >= text_.size()) {
    bytes = text_.size() - 1;
    const auto continues = [&](size_t i) { return (static_cast<unsigned char>(text[i]) & 0xC0U) == 0x80U; };
    while (bytes > 0 && continues(bytes)) --bytes;
  }
  std::memcpy(text_.data(), text, bytes);
  text_[bytes] = '\0';
}

ErrorText& thread_error() noexcept {
  thread_local ErrorText text;
  return text;
}

elek_status failed(ErrorText* session, int code, const char* text) noexcept {
  thread_error().set(text);
  if (session != nullptr) session->set(text);
  const bool known = code >= ELEK_ERROR_INTERNAL && code <= ELEK_ERROR_DEVICE;
  return known ? code : ELEK_ERROR_INTERNAL;
}

}  // namespace elek::api
