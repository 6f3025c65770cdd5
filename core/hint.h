// SPDX-License-Identifier: Apache-2.0
// Hints: what usually helps against an error, as a fact and not as words. The library throws what is wrong; whoever shows the
// error adds the advice, because only he knows what his options are called (the command: cli/advice.h). An error without a hint
// has nothing to add. Tests: tests/cli/advice_test.cpp
#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <string>

namespace elek {

enum class Hint : uint8_t {
  kUseCpu,            // no GPU can be used: the CPU can
  kCpuPrecision,      // the CPU has few precisions, a GPU has more
  kUseF32,            // this CPU has no other precision
  kHoldingPrecision,  // a precision that holds larger values
  kOtherPrecision,    // another precision, or another device
  kFewerThreads,      // threads could not be started
  kGroupNames,        // a name that is no group's: list them
  kLayerNames,        // a name that is no layer's: list them
  kSingleImages,      // a folder without classes: its images can be run one by one
  kImportWeights,     // plain weights in place of a model file
  kTakeStatistics,    // a file that holds no statistics
  kRepairBatchNorm    // least squares cannot be solved: batch norm can still be re-estimated
};

/// The part of an error that has a hint.
class HasHint {
 public:
  explicit HasHint(Hint hint) noexcept : hint_(hint) {}
  virtual ~HasHint() = default;
  [[nodiscard]] Hint hint() const noexcept { return hint_; }

 private:
  Hint hint_;
};

/// An error of type E with a hint: throw Hinted<UsageError>(Hint::kGroupNames, "…").
template <typename E>
class Hinted final : public E, public HasHint {
 public:
  Hinted(Hint hint, const std::string& message) : E(message), HasHint(hint) {}
};

/// The hint of an error, if it has one.
[[nodiscard]] inline std::optional<Hint> hint_of(const std::exception& error) noexcept {
  const auto* const with = dynamic_cast<const HasHint*>(&error);
  return with == nullptr ? std::nullopt : std::optional<Hint>(with->hint());
}

}  // namespace elek
