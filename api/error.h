// SPDX-License-Identifier: Apache-2.0
// Turns exceptions into codes: every function of the C interface runs its work inside guarded(), so no exception reaches a C
// caller. The text of an error is kept in a fixed buffer, because reporting that memory ran out must not need memory.
// Tests: tests/api/errors_test.cpp
#pragma once

#include <array>
#include <new>
#include <string>

#include "core/error.h"
#include "elek/c.h"

namespace elek::api {

class ErrorText {
 public:
  /// Cuts a long text to the buffer, at the end of a whole UTF-8 character.
  void set(const char* text) noexcept;
  [[nodiscard]] const char* get() const noexcept { return text_.data(); }

 private:
  std::array<char, 1024> text_{};
};

/// The text of the last call that failed on this thread.
[[nodiscard]] ErrorText& thread_error() noexcept;

/// Keeps the text for the thread, and for the session if there is one. Returns the code.
elek_status failed(ErrorText* session, int code, const char* text) noexcept;

/// Throws UsageError unless the condition holds: checks a C caller's arguments before the engine sees them.
inline void require(bool condition, const char* message) {
  if (!condition) throw UsageError(message);
}

/// Runs `work` and turns what it throws into a code and a text.
template <typename Work>
elek_status guarded(ErrorText* session, Work&& work) noexcept {
  try {
    work();
    return ELEK_OK;
  } catch (const Error& error) {
    return failed(session, error.exit_code(), error.what());
  } catch (const std::bad_alloc&) {
    return failed(session, ELEK_ERROR_MEMORY, "out of memory: the system gave no more");
  } catch (const std::exception& error) {
    return failed(session, ELEK_ERROR_INTERNAL, error.what());
  } catch (...) {
    return failed(session, ELEK_ERROR_INTERNAL, "an exception of unknown type");
  }
}

}  // namespace elek::api
