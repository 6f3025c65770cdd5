// SPDX-License-Identifier: Apache-2.0
// Post-training quantisation to 8-bit integers: weights per output channel, symmetric; activations per value, without sign
// behind a ReLU. No training and no labels. The result is a model whose weights are integers times a scale; Precision::kInt8
// multiplies those integers (elek/graph.h, Quantization).
//
// Ranges: one pass takes a histogram of every value that a convolution reads, and the scale is the one with the least squared
// error. Memory does not depend on the number of images.
// Weights: rounded to nearest; or one after the other, in each layer, so that the layer's output changes least on the images.
// That needs the second moments of the layer's input, the same as the refit (elek/prune.h), and minimises
//   sum |z - (W q + b)|^2    z: the network's own output of the layer; q: the layer's input in the quantised network so far.
// Errors of the weights rounded first are taken up by those rounded later and by the bias (Frantar et al. 2023, arXiv
// 2210.17323; Chee et al. 2023, arXiv 2307.13304, show that this rounding and OPTQ's are the same).
// Tests: tests/quantize
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "elek/batch_source.h"
#include "elek/export.h"
#include "elek/graph.h"
#include "elek/session.h"

namespace elek {

enum class WeightRounding : uint8_t {
  kNearest,
  kMoments,  // one pass over the images per layer
};
[[nodiscard]] ELEK_API std::string name_of(WeightRounding rounding);                       // "nearest", "moments"
[[nodiscard]] ELEK_API WeightRounding weight_rounding_from_name(const std::string& name);  // UsageError listing the names

struct QuantizeOptions {
  WeightRounding rounding = WeightRounding::kNearest;  // docs/quantization.md has the comparison
  std::set<std::string> keep;                          // layers that stay f32
  /// Largest size of the activations that are kept for all images, so that a layer's pass need not start from the images. The
  /// result is the same.
  size_t keep_activations_bytes = 0;
};

/// A convolution or linear layer.
struct QuantizedLayer {
  std::string name;
  std::string why_not;  // why it stays f32; empty if it is quantised
  /// Squared error of its output on the images, from rounding the weights, as a share of what rounding to nearest costs; below
  /// 1 if the moments helped. 1 with kNearest.
  double error = 1;
};

struct QuantizeReport {
  std::vector<QuantizedLayer> layers;
  int64_t samples = 0;
  [[nodiscard]] ELEK_API int64_t quantized() const;  // layers
};

/// The quantised model: batch norms folded into the convolutions before them, and Model::quantization filled. Its history has
/// one more entry. `images` are the calibration data; `session` gives device, threads, batch and memory (the device must be
/// able to start from values, as the CPU is). `progress` counts images over all passes. UsageError if the model is quantised
/// already, no layer can be quantised, or `keep` names no such layer; InputError if there is no image or a value is NaN or
/// infinite; OutOfMemory.
[[nodiscard]] ELEK_API Model quantize(const Model& model, BatchSource& images, const SessionOptions& session,
                                      const QuantizeOptions& options, const Progress& progress, QuantizeReport& report);

}  // namespace elek
