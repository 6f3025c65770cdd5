// SPDX-License-Identifier: Apache-2.0
// ELEK_CHECK: checks the contract of a function, that is, what its caller must ensure. The error classes are public:
// elek/types.h.
// Tests: tests/unit/base_test.cpp
#pragma once

#include <string>

#include "elek/types.h"

namespace elek {

namespace detail {
[[noreturn]] void throw_contract(const char* file, int line, const char* condition, const std::string& message);
}

}  // namespace elek

/// Throws ContractError if `condition` is false, in every build type. `message` is evaluated only then.
#define ELEK_CHECK(condition, message)                                                           \
  do {                                                                                           \
    if (!(condition)) ::elek::detail::throw_contract(__FILE__, __LINE__, #condition, (message)); \
  } while (false)
