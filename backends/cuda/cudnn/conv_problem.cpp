// SPDX-License-Identifier: Apache-2.0
// Sizes and names of convolution problems. Tests: tests/deviceless/conv_problem_test.cpp
#include "backends/cuda/cudnn/conv_problem.h"

#include "core/error.h"
#include "core/sums.h"

namespace elek::backends::cuda {

size_t ConvProblem::x_bytes() const { return checked_bytes(Shape{samples, height, width, x_pitch}, storage_of(precision)); }

size_t ConvProblem::w_bytes() const {
  return checked_bytes(Shape{filters, kernel.height, kernel.width, channels / groups}, storage_of(precision));
}

size_t ConvProblem::y_bytes() const {
  return checked_bytes(Shape{samples, out_height(), out_width(), y_pitch}, storage_of(precision));
}

std::string key(const ConvProblem& p) {
  std::string text;
  const auto add = [&text](const char* name, const auto& value) {
    using std::to_string;
    text += name + to_string(value) + " ";
  };
  add("n", p.samples);
  add("c", p.channels);
  add("h", p.height);
  add("w", p.width);
  add("k", p.filters);
  add("r", p.kernel);
  add("s", p.stride);
  add("p", p.padding);
  if (p.dilation != Extent(1)) add("d", p.dilation);
  add("g", p.groups);
  add("xp", p.x_pitch);
  add("yp", p.y_pitch);
  text += name_of(p.precision);
  if (p.epilogue == ConvEpilogue::kNone) {
    text += " raw";
  } else if (p.sums == 0) {
    text += p.residual ? " residual+bias" : " bias";
  } else {
    text += p.residual ? " f32bias+residual" : " f32bias";
  }
  if (p.relu) text += "+relu";
  if (p.sums != 0) text += " sums" + std::to_string(p.sums);
  if (p.deterministic) text += " deterministic";
  return text;
}

Result<uint32_t> fused_sums_for(uint32_t sets, bool relu, int64_t positions) {
  if ((sets & kPerSample) != 0) return No{"per-sample sums are not to be had inside the convolution"};
  if ((sets & (kAbsolute | kRange)) != 0 && !relu) return No{"|y| and max y fuse only after a ReLU"};
  if ((sets & kActivity) != 0 && positions > kExactCount) {
    return No{std::to_string(positions) + " positions a launch: f32 counts exactly only to 2^24"};
  }
  uint32_t fused = 0;
  if ((sets & kActivity) != 0) fused |= kSumY | kSumYSquared | kCountActive;
  if ((sets & kAbsolute) != 0) fused |= kSumY;  // after a ReLU |y| = y
  if ((sets & kRange) != 0) fused |= kMaxY | kSumY;
  if ((sets & kMoments) != 0) fused |= kSumZ | kSumZSquared | kSumY;
  return fused;  // sum y is always taken: it shows values that are not finite
}

int64_t pitch_of(int64_t channels, Precision precision) {
  const int64_t lanes = 16 / static_cast<int64_t>(size_of(storage_of(precision)));
  return (channels + lanes - 1) / lanes * lanes;
}

ConvProblem problem_of(const Graph& graph, const FusedNode& step, int64_t samples, Precision precision) {
  const Conv2dAttrs& a = step.node.as<Conv2dAttrs>();
  const ImageShape& x = graph.node(step.input).shape;
  const ImageShape& y = graph.node(step.output).shape;
  ConvProblem p;
  p.samples = samples;
  p.height = x.height;
  p.width = x.width;
  p.kernel = a.kernel;
  p.stride = a.stride;
  p.padding = a.padding;
  p.dilation = a.dilation;
  p.groups = a.groups;
  p.x_pitch = pitch_of(x.channels, precision);
  p.y_pitch = pitch_of(y.channels, precision);
  p.channels = a.groups == 1 ? p.x_pitch : x.channels;
  p.filters = a.groups == 1 ? p.y_pitch : y.channels;
  p.precision = precision;
  ELEK_CHECK(p.out_height() == y.height && p.out_width() == y.width,
             "conv '" + step.node.name + "': makes " + to_string(y) + ", its attributes say " + std::to_string(p.out_height()) +
                 "x" + std::to_string(p.out_width()));
  return p;
}

ConvProblem with_epilogue(ConvProblem problem, const FusedNode& step, uint32_t sums) {
  problem.epilogue = ConvEpilogue::kFull;
  problem.residual = step.residual.has_value();
  ELEK_CHECK(step.activation.is_plain(), "conv '" + step.node.name + "': " + std::string(name_of(step.activation.kind)) +
                                             " is no part of cuDNN's kernels here");
  problem.relu = step.activation.is_relu();
  problem.sums = sums;
  return problem;
}

}  // namespace elek::backends::cuda
