// SPDX-License-Identifier: Apache-2.0
// What the tests that need a GPU share. Where there is none they skip and say why; the GPU lane counts a skip as a failure.
// HAS NOT RUN ON A GPU YET (2026-11-22).
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "engine/session.h"

#define ELEK_NEEDS_GPU()                                                          \
  do {                                                                            \
    const std::string elek_why = ::elek::why_not({::elek::DeviceKind::kCuda, 0}); \
    if (!elek_why.empty()) GTEST_SKIP() << elek_why;                              \
  } while (false)

namespace elek::test {

inline constexpr Device kGpu{DeviceKind::kCuda, 0};

/// Sets an environment variable for the length of a scope.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before, had_ = true;
    setenv(name, value.c_str(), 1);
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment() {
    if (had_) {
      setenv(name_, before_.c_str(), 1);
    } else {
      unsetenv(name_);
    }
  }

 private:
  const char* name_;
  std::string before_;
  bool had_ = false;
};

/// Unit roundoff of what convolutions read and activations are stored in.
[[nodiscard]] inline double roundoff(Precision precision) {
  switch (precision) {
    case Precision::kF32:
      return 0x1p-24;
    case Precision::kBf16:
      return 0x1p-9;
    default:
      return 0x1p-11;  // f16, and TF32's operands
  }
}

}  // namespace elek::test
