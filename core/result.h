// SPDX-License-Identifier: Apache-2.0
// Result<T>: the result of a function that may fail in normal use (a plan that cuDNN cannot build, a group that would lose all
// channels). Failures of the environment and broken contracts throw instead (error.h). C++23 has std::expected for this, but
// nvcc 13.0 does not support it.
// Tests: tests/unit/base_test.cpp
#pragma once

#include <string>
#include <utility>
#include <variant>

#include "core/error.h"

namespace elek {

/// The reason why there is no result.
struct No {
  std::string reason;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}  // NOLINT(google-explicit-constructor): reads as `return value;`
  Result(No no) : state_(std::move(no)) {}       // NOLINT(google-explicit-constructor): reads as `return No{"why"};`
  [[nodiscard]] explicit operator bool() const noexcept { return std::holds_alternative<T>(state_); }
  [[nodiscard]] const T& value() const& {
    ELEK_CHECK(*this, reason());
    return std::get<T>(state_);
  }
  [[nodiscard]] T&& value() && {
    ELEK_CHECK(*this, reason());
    return std::get<T>(std::move(state_));
  }
  [[nodiscard]] std::string reason() const { return *this ? std::string() : std::get<No>(state_).reason; }

 private:
  std::variant<T, No> state_;
};

}  // namespace elek
