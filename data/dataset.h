// SPDX-License-Identifier: Apache-2.0
// Dataset: samples by index, each decoded on demand into uint8 pixels, channels last. Readers: IDX, CIFAR binary, image
// folders, synthetic. parse_data() turns the command's DATA words into one. Tests: tests/data/*_test.cpp
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/types.h"

namespace elek {

class Dataset {
 public:
  Dataset() = default;
  Dataset(const Dataset&) = delete;
  Dataset& operator=(const Dataset&) = delete;
  virtual ~Dataset() = default;
  [[nodiscard]] virtual int64_t size() const = 0;
  [[nodiscard]] virtual int64_t classes() const = 0;                         // 0 if unlabelled
  [[nodiscard]] virtual const std::vector<std::string>& labels() const = 0;  // class names, may be empty
  [[nodiscard]] virtual int32_t label(int64_t index) const = 0;              // -1 if it has none
  [[nodiscard]] virtual std::string name(int64_t index) const = 0;           // for errors: file and index
  /// Decodes a sample to `shape` (H x W x C uint8). A sample of that size passes as it is; another is resized (antialiased
  /// bilinear, Pillow's bits) so that its shorter side is the shape's / 0.875, and the centre is cut out; grey is widened to
  /// three equal channels, colour narrowed to stb_image's luma, alpha dropped. InputError naming the sample if it cannot be
  /// read or its channels do not fit. Thread-safe.
  virtual void decode(int64_t index, const ImageShape& shape, std::span<uint8_t> pixels) const = 0;
  /// Names the sample's content, to find calibration images among evaluation images. Thread-safe.
  [[nodiscard]] virtual uint64_t content_hash(int64_t index) const = 0;
};

/// DATA: idx:DIR[:train|test], images:DIR, cifar10:DIR[:train|test], synthetic:N[:seed], each with an optional slice [a:b] in
/// the data's order, where a or b may be left out. Without a split it is the test split; without a seed it is 0. UsageError for
/// a word that is none of these or a slice that is empty or reaches beyond the data, InputError for files that are missing,
/// broken, empty or unlabelled. `shape` is the network's input (synthetic data is made in it).
[[nodiscard]] std::shared_ptr<const Dataset> parse_data(const std::string& data, const ImageShape& shape);

/// Image files given one by one, without labels (elek run photo.jpg …).
[[nodiscard]] std::shared_ptr<const Dataset> image_files(const std::vector<std::string>& paths);

/// Names all of it: contents and labels, in order.
[[nodiscard]] uint64_t content_hash(const Dataset& dataset);

/// How many samples of `a` have the content of a sample of `b`.
[[nodiscard]] int64_t overlap(const Dataset& a, const Dataset& b);

}  // namespace elek
