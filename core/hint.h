// SPDX-License-Identifier: Apache-2.0
// Hints: what usually helps against an error, as a code instead of a text. The library says what is wrong. The program that
// shows the error adds the advice, because only it knows the names of its options (the command: cli/advice.h). Not every error
// has a hint. Tests: tests/cli/advice_test.cpp
#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <string>

namespace elek {

enum class Hint : uint8_t {
  kUseCpu,            // no GPU can be used; the CPU can
  kCpuPrecision,      // the CPU has few precisions; a GPU has more
  kUseF32,            // this CPU supports only f32
  kHoldingPrecision,  // use a precision that can hold larger values
  kOtherPrecision,    // use another precision or another device
  kGroupNames,        // no group has this name: list the groups
  kLayerNames,        // no layer has this name: list the layers
  kSingleImages,      // a folder without classes: run its images one by one
  kImportWeights,     // a file of plain weights was given as a model file: import it
  kPartOfFile,        // a file has several parts with weights: name one
  kTakeStatistics,    // the file contains no statistics: take them first
  kInputSize,         // the file leaves the size of its input open
  kChooseHead,        // the classifier is unclear or has several layers: name one layer, or take the features
  kRepairBatchNorm,   // the least squares problem cannot be solved; batch norm can still be re-estimated
  kQuantize           // the network is not quantised: quantise it first
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
