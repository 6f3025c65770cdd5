// SPDX-License-Identifier: Apache-2.0
// What single convolutions take on this machine, one image at a time, for choosing widths: a network of one layer is built, run
// a few times and timed, and the time is kept on disk beside the kernels' (docs/cli.md). Tests:
// tests/golden/layer_times_test.cpp
#pragma once

#include <map>
#include <string>

#include "elek/graph.h"
#include "elek/session.h"

namespace elek {

class LayerTimes {
 public:
  /// Of `options`: device, precision, threads, determinism and memory.
  explicit LayerTimes(SessionOptions options);
  /// Microseconds of a run of conv with bias and ReLU over one such image; the least of a few runs. Errors as Session's.
  [[nodiscard]] double us(const ImageShape& input, const Conv2dAttrs& conv);
  /// Layers that were run, and not known before.
  [[nodiscard]] int64_t measured() const noexcept { return measured_; }

 private:
  [[nodiscard]] double measure(const Model& model);
  SessionOptions options_;
  std::map<std::string, double> known_;
  int64_t measured_ = 0;
};

}  // namespace elek
