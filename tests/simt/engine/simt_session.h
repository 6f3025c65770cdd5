// SPDX-License-Identifier: Apache-2.0
// A small network that is watched in every convolution, for sessions on the stand-in device.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/hint.h"
#include "core/sums.h"
#include "elek/session.h"
#include "graph/passes.h"
#include "plan/program.h"
#include "tests/gpu/gpu.h"
#include "tests/simt/libraries/libraries.h"
#include "tests/simt/runtime.h"
#include "tests/support/models.h"

namespace elek::test {

class SimtSession : public ::testing::Test {
 protected:
  void SetUp() override {
    simt::reboot();
    simt::set_pace(simt::Pace::kRandom, 20261123);
    tiny_.widths = {13};
    tiny_.blocks = 1;
    tiny_.input = {3, 8, 6};
    model_ = tiny_resnet(tiny_);
    pixels_ = tiny_pixels(tiny_.input, 11, 3);
    options_.device = kGpu;
    options_.precision = Precision::kF16;
    options_.batch = 4;
    for (const FusedNode& step : fuse(model_.graph).steps) {
      if (step.node.is<Conv2dAttrs>()) options_.probes.values[model_.graph.node(step.output).name] = kActivity;
    }
  }
  void TearDown() override {
    simt::set_engines(simt::usual_engines());
    simt::lose_cudnn("");
    simt::reboot();
  }

  /// The choices of all convolutions whose kernel's name contains `of`, one per line.
  static std::string choices(const Session& session) {
    std::string text;
    for (const ProgramStep& step : session.program().steps) {
      if (step.node.node.is<Conv2dAttrs>()) text += step.kernel + " | " + step.choice + "\n";
    }
    return text;
  }
  [[nodiscard]] std::string error_of_session() const { return error_and_hint().first; }
  [[nodiscard]] std::pair<std::string, std::optional<Hint>> error_and_hint() const {
    try {
      const Session session(model_, options_);
      return {"none", std::nullopt};
    } catch (const Error& error) {
      return {error.what(), hint_of(error)};
    }
  }

  TinyOptions tiny_;
  Model model_;
  std::vector<uint8_t> pixels_;
  SessionOptions options_;
};

}  // namespace elek::test
