// SPDX-License-Identifier: Apache-2.0
// Shared by the tests that need a GPU. Without a GPU they skip and say why; the GPU lane counts a skip as a failure.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "elek/session.h"

#define ELEK_NEEDS_GPU()                                                          \
  do {                                                                            \
    const std::string elek_why = ::elek::why_not({::elek::DeviceKind::kCuda, 0}); \
    if (!elek_why.empty()) GTEST_SKIP() << elek_why;                              \
  } while (false)

namespace elek::test {

inline constexpr Device kGpu{DeviceKind::kCuda, 0};

/// Unit roundoff of the operands of convolutions and of stored activations.
[[nodiscard]] inline double roundoff(Precision precision) {
  switch (precision) {
    case Precision::kF32:
      return 0x1p-24;
    case Precision::kBf16:
      return 0x1p-8;
    default:
      return 0x1p-11;  // f16, and TF32's operands
  }
}

/// Largest difference of a logit from the exact one, as a share of the largest logit, after L = `layers` convolutions and
/// linear layers. Each layer rounds weights, bias, input and output once. Batch norm and He's initialisation keep the norm, so
/// errors add up. 16-bit types round to nearest: 4 L independent errors, uniform in +-u, have deviation u sqrt(4 L / 3); six
/// deviations are allowed. TF32 operands may be truncated instead (2 u each, all towards zero), which adds up linearly: 3 u L.
/// f32's sums of up to 10^4 terms: 2e-5 (docs).
[[nodiscard]] inline double logit_tolerance(Precision precision, double layers) {
  const double u = roundoff(precision);
  if (precision == Precision::kF32 || precision == Precision::kTf32) return std::max(2e-5, 3 * u * layers);
  return 6 * u * std::sqrt(4 * layers / 3);
}

/// A file of tests/fixtures: in the folder known at build time, or in $ELEK_TEST_DATA on a machine that has only the binaries.
[[nodiscard]] inline std::string fixture(const std::string& name) {
  const char* moved = std::getenv("ELEK_TEST_DATA");
  return std::string(moved != nullptr && *moved != '\0' ? moved : ELEK_TEST_DATA) + "/" + name;
}

[[nodiscard]] inline std::vector<float> end_batch(Session& session) {
  const auto logits = session.end();
  return {logits.begin(), logits.end()};
}

/// Logits of all batches but the last, which is still under way. Two batches are under way at a time. `fill(slot, batch)` gives
/// each its images; slots are overwritten as soon as begin() returns.
template <typename Fill>
[[nodiscard]] std::vector<std::vector<float>> begin_overlapped(Session& session, int64_t batches, const Fill& fill) {
  std::vector<std::vector<float>> got;
  for (int64_t batch = 0; batch < batches; ++batch) {
    Slot& slot = session.slots()[static_cast<size_t>(batch % 2)];
    fill(slot, batch);
    session.begin(slot);
    std::fill_n(slot.pixels, slot.capacity * slot.shape.elements(), uint8_t{255});
    if (batch > 0) got.push_back(end_batch(session));
  }
  return got;
}

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

}  // namespace elek::test
