// SPDX-License-Identifier: Apache-2.0
// The references of the tests: an interpreter of graphs in double precision, written like the definitions (no folding, no
// fusion, no blocking), and the sums of elek/statistics.h over given stored values. It shares no code with the product.
// Tests: tests/self/reference_test.cpp (values worked out by hand)
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "elek/graph.h"

namespace elek::test {

/// Moments of one batch_norm's input over one batch. PyTorch's train mode normalises by the biased variance. It averages the
/// unbiased one (divisor count - 1; equal to the biased one if count is 1) into running_var.
struct ReferenceMoments {
  std::vector<double> mean, variance, biased_variance;  // [C]
};

struct ReferenceOptions {
  bool batch_statistics = false;  // normalise by the batch's own moments instead of the running ones
};

/// Every value of the graph: from its name to [samples, C, H, W], row-major.
struct ReferenceValues {
  int64_t samples = 0;
  std::map<std::string, std::vector<double>> values;
  std::map<std::string, ReferenceMoments> moments;  // by batch_norm name; with batch_statistics only
  std::string output;
  [[nodiscard]] const std::vector<double>& at(const std::string& name) const;
  [[nodiscard]] const std::vector<double>& logits() const { return at(output); }
};

/// Preprocesses the pixels (samples x H x W x C, channels last) in double and runs the graph on them.
[[nodiscard]] ReferenceValues run_reference(const Model& model, const std::vector<uint8_t>& nhwc_pixels, int64_t samples,
                                            const ReferenceOptions& options = {});
/// Runs the graph on its input value [samples, C, H, W], without preprocessing.
[[nodiscard]] ReferenceValues run_reference_nchw(const Model& model, const std::vector<float>& nchw, int64_t samples,
                                                 const ReferenceOptions& options = {});

/// y[n,k,p,q] of Conv2dAttrs for one batch; `weight` [K, C/groups, R, S], `bias` [K] or empty.
[[nodiscard]] std::vector<double> reference_conv2d(std::span<const double> x, int64_t samples, const ImageShape& input,
                                                   const Conv2dAttrs& attrs, std::span<const float> weight,
                                                   std::span<const float> bias);
/// Any node except input, conv2d, linear and batch_norm, on the given inputs. `input` is the shape of the first.
[[nodiscard]] std::vector<double> reference_node(const Node& node, int64_t samples, const ImageShape& input,
                                                 const std::vector<std::span<const double>>& inputs);

/// The sums of elek/statistics.h over stored values ([samples, C, H, W]); all sets at once. NaN and infinity take part in the
/// sums and are counted. max and mean_peak are NaN if one of their operands is.
struct ChannelSums {
  int64_t count = 0;
  int64_t nonfinite = 0;
  std::vector<double> sum, sum_sq, abs_sum, max;
  std::vector<int64_t> active, fired;
  std::vector<double> mean_peak, mean_sum, mean_sum_sq;
};
[[nodiscard]] ChannelSums channel_sums(std::span<const float> values, int64_t samples, const ImageShape& shape,
                                       float threshold);

/// norm_sq[(c*R + r)*S + s]: builds the im2col matrix of the input [samples, C, H, W] and sums the squares of its columns.
[[nodiscard]] std::vector<double> tap_norms(std::span<const float> input, int64_t samples, const ImageShape& shape,
                                            const Window& window);

}  // namespace elek::test
