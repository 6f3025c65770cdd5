// SPDX-License-Identifier: Apache-2.0
// Data: datasets of images by index (IDX, CIFAR, image folders, synthetic), and a loader. The loader's threads decode ahead
// into a session's slots, in a fixed order. Tests: tests/data
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "elek/batch_source.h"
#include "elek/export.h"
#include "elek/types.h"

namespace elek {

class ELEK_API Dataset {
 public:
  Dataset() = default;
  Dataset(const Dataset&) = delete;
  Dataset& operator=(const Dataset&) = delete;
  virtual ~Dataset() = default;
  [[nodiscard]] virtual int64_t size() const = 0;
  [[nodiscard]] virtual int64_t classes() const = 0;                         // 0 if unlabelled
  [[nodiscard]] virtual const std::vector<std::string>& labels() const = 0;  // class names, may be empty
  [[nodiscard]] virtual int32_t label(int64_t index) const = 0;              // -1 if unlabelled
  [[nodiscard]] virtual std::string name(int64_t index) const = 0;           // for errors: file and index
  /// Decodes a sample to `shape` (H x W x C uint8). A sample of that size is not changed. Any other is resized (antialiased
  /// bilinear, the same bits as Pillow) so that its shorter side is the shape's / 0.875; then the centre is cut out. Grey
  /// becomes three equal channels, colour becomes Pillow's luma, alpha is dropped. InputError names the sample if it cannot
  /// be read or its channels do not fit. Thread-safe.
  virtual void decode(int64_t index, const ImageShape& shape, std::span<uint8_t> pixels) const = 0;
  /// The size of every sample, if all have one and it is known without reading them.
  [[nodiscard]] virtual std::optional<ImageShape> shape() const { return std::nullopt; }
  /// A hash of the sample's content, to find calibration images among evaluation images. Thread-safe.
  [[nodiscard]] virtual uint64_t content_hash(int64_t index) const = 0;
};

/// DATA: idx:DIR[:train|test], images:DIR, cifar10:DIR[:train|test], synthetic:N[:seed], each with an optional range [a:b] in
/// the data's order; a or b may be left out. The default split is test, the default seed is 0. UsageError for another word, or
/// a range that is empty or exceeds the data. InputError for files that are missing, broken or empty. `shape` is the network's
/// input; synthetic data has this shape. A folder of images without class folders gives images without labels.
[[nodiscard]] ELEK_API std::shared_ptr<const Dataset> parse_data(const std::string& data, const ImageShape& shape);

/// Single image files, without labels (elek run photo.jpg …).
[[nodiscard]] ELEK_API std::shared_ptr<const Dataset> image_files(const std::vector<std::string>& paths);

/// What decodes JPEG files in this build: "libjpeg-turbo 2.1.5", whose pixels are Pillow's, or "stb_image", whose pixels differ
/// by a few levels.
[[nodiscard]] ELEK_API std::string jpeg_decoder();

/// True if a sample is a file named .jpg or .jpeg.
[[nodiscard]] ELEK_API bool has_jpegs(const Dataset& dataset);

/// A hash over the contents and labels of all samples, in order.
[[nodiscard]] ELEK_API uint64_t content_hash(const Dataset& dataset);

/// How many samples of `a` have the same content as a sample of `b`.
[[nodiscard]] ELEK_API int64_t overlap(const Dataset& a, const Dataset& b);

struct LoaderOptions {
  std::optional<uint64_t> shuffle_seed = std::nullopt;  // none = the data's order
  int64_t limit = 0;                                    // largest number of samples, after shuffling; 0 = all
  int threads = 1;
  std::string description = {};  // DATA as given
};
[[nodiscard]] ELEK_API std::unique_ptr<BatchSource> make_loader(std::shared_ptr<const Dataset> dataset, LoaderOptions options);

}  // namespace elek
