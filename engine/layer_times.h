// SPDX-License-Identifier: Apache-2.0
// Times of single convolutions on this machine, one image at a time, for choosing widths. A network of one layer is built, run
// a few times and timed. The time is stored on disk with those of the kernels (docs/cli.md).
// Tests: tests/golden/layer_times_test.cpp
#pragma once

#include <map>
#include <string>

#include "elek/graph.h"
#include "elek/session.h"

namespace elek {

class LayerTimes {
 public:
  /// Uses device, precision, threads, determinism and memory of `options`.
  explicit LayerTimes(SessionOptions options);
  /// Microseconds of one run of conv with bias and ReLU over one such image: the shortest of a few runs. Errors as Session's.
  [[nodiscard]] double us(const ImageShape& input, const Conv2dAttrs& conv);
  /// How many layers were run because their times were not known.
  [[nodiscard]] int64_t measured() const noexcept { return measured_; }

 private:
  [[nodiscard]] double measure(const Model& model);
  SessionOptions options_;
  std::map<std::string, double> known_;
  int64_t measured_ = 0;
};

}  // namespace elek
