// SPDX-License-Identifier: Apache-2.0
// The host part of a session's staging: two slots for pixels and labels (a loader fills one while the session reads the other),
// and the outputs of all batches under way. One buffer. The backend decides whether it is plain or page-locked memory.
// Tests: tests/golden/memory_test.cpp, tests/gpu/session_test.cpp
#pragma once

#include <array>
#include <span>

#include "backends/steps.h"

namespace elek::backends {

/// Offsets in the staging buffer.
class HostStaging {
 public:
  HostStaging(const Program& program, const CommonNotes& notes, size_t outputs = 1);
  [[nodiscard]] std::array<Slot, 2> slots(std::byte* staging) const;
  [[nodiscard]] std::span<float> output(std::byte* staging, size_t index = 0) const {
    return {reinterpret_cast<float*>(staging + outputs_.at(index)), output_elements_};
  }
  [[nodiscard]] size_t bytes() const noexcept { return bytes_; }

 private:
  int64_t batch_ = 0;
  ImageShape input_;
  std::array<size_t, 2> pixels_{}, labels_{};
  std::vector<size_t> outputs_;
  size_t output_elements_ = 0;
  size_t bytes_ = 0;
};

}  // namespace elek::backends
