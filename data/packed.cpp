// SPDX-License-Identifier: Apache-2.0
// Samples of one size, one after another in memory. decode() of a sample that has the requested size is one copy.
// Tests: tests/data/idx_test.cpp, tests/data/cifar_test.cpp
#include "data/packed.h"

#include <array>
#include <optional>
#include <utility>

#include "core/error.h"
#include "core/runtime.h"
#include "data/image.h"

namespace elek {
namespace {

class PackedDataset final : public Dataset {
 public:
  explicit PackedDataset(PackedSamples samples) : samples_(std::move(samples)) {
    const size_t bytes = static_cast<size_t>(samples_.count * samples_.shape.elements());
    ELEK_CHECK(
        samples_.count > 0 && samples_.offset <= samples_.bytes.size() && samples_.bytes.size() - samples_.offset == bytes,
        "packed samples: " + std::to_string(samples_.bytes.size()) + " bytes, expected " + std::to_string(bytes));
    ELEK_CHECK(samples_.labels.size() == static_cast<size_t>(samples_.count), "packed samples: expected one label per sample");
    ELEK_CHECK(!samples_.parts.empty() && samples_.parts.front().first == 0, "packed samples: expected at least one file");
  }
  int64_t size() const override { return samples_.count; }
  int64_t classes() const override { return samples_.classes; }
  const std::vector<std::string>& labels() const override { return samples_.class_names; }
  int32_t label(int64_t index) const override { return samples_.labels.at(static_cast<size_t>(index)); }
  std::string name(int64_t index) const override {
    const PackedSamples::Part* part = samples_.parts.data();
    for (const PackedSamples::Part& other : samples_.parts) {
      if (other.first <= index) part = &other;
    }
    return part->file + ", image " + std::to_string(index - part->first);
  }
  void decode(int64_t index, const ImageShape& shape, std::span<uint8_t> pixels) const override {
    const PixelView image{sample(index), samples_.shape};
    if (samples_.shape == shape) {
      copy_pixels(image, pixels);  // makes no name string: a warm loader allocates nothing
    } else {
      fit_image(image, shape, pixels, name(index));
    }
  }
  std::optional<ImageShape> shape() const override { return samples_.shape; }
  uint64_t content_hash(int64_t index) const override {
    const std::array<int64_t, 3> dims{samples_.shape.height, samples_.shape.width, samples_.shape.channels};
    const uint64_t seed = hash_bytes(dims.data(), sizeof(dims));
    return hash_bytes(sample(index), static_cast<size_t>(samples_.shape.elements()), seed);
  }

 private:
  const uint8_t* sample(int64_t index) const {
    ELEK_CHECK(index >= 0 && index < samples_.count,
               "sample " + std::to_string(index) + " of " + std::to_string(samples_.count));
    return samples_.bytes.data() + samples_.offset + static_cast<size_t>(index * samples_.shape.elements());
  }

  const PackedSamples samples_;
};

}  // namespace

std::shared_ptr<const Dataset> make_packed(PackedSamples samples) {
  return std::make_shared<PackedDataset>(std::move(samples));
}

}  // namespace elek
