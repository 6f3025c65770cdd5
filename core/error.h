// SPDX-License-Identifier: Apache-2.0
// ELEK_CHECK: checks the contract of a function, that is, what its caller must ensure; and bytes in messages. The error classes
// are public: elek/types.h.
// Tests: tests/unit/base_test.cpp
#pragma once

#include <cstddef>
#include <string>

#include "elek/types.h"

namespace elek {

/// For messages: "9.44 MB (9,439,232 bytes)" (MB = 10^6); below 100,000 bytes only "4,096 bytes".
[[nodiscard]] std::string bytes_text(size_t bytes);

namespace detail {
[[noreturn]] void throw_contract(const char* file, int line, const char* condition, const std::string& message);
}

}  // namespace elek

/// Throws ContractError if `condition` is false, in every build type. `message` is evaluated only then.
#define ELEK_CHECK(condition, message)                                                           \
  do {                                                                                           \
    if (!(condition)) ::elek::detail::throw_contract(__FILE__, __LINE__, #condition, (message)); \
  } while (false)
