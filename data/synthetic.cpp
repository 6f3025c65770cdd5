// SPDX-License-Identifier: Apache-2.0
// Images that are made as they are read.
// Tests: tests/data/dataset_test.cpp
#include "data/synthetic.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/runtime.h"
#include "data/image.h"

namespace elek {
namespace {

constexpr int32_t kClasses = 10;

class Synthetic final : public Dataset {
 public:
  Synthetic(int64_t count, uint64_t seed, const ImageShape& shape) : count_(count), seed_(seed), shape_(shape) {}
  int64_t size() const override { return count_; }
  int64_t classes() const override { return kClasses; }
  const std::vector<std::string>& labels() const override { return class_names_; }
  int32_t label(int64_t index) const override { return static_cast<int32_t>(random(index).below(kClasses)); }
  std::string name(int64_t index) const override {
    return "synthetic image " + std::to_string(index) + " of seed " + std::to_string(seed_);
  }
  void decode(int64_t index, const ImageShape& shape, std::span<uint8_t> pixels) const override {
    if (shape == shape_) {
      make(index, pixels);
      return;
    }
    std::vector<uint8_t> own(static_cast<size_t>(shape_.elements()));
    make(index, own);
    fit_image({own.data(), shape_}, shape, pixels, name(index));
  }
  uint64_t content_hash(int64_t index) const override {
    const std::array<uint64_t, 5> key{seed_, static_cast<uint64_t>(index), static_cast<uint64_t>(shape_.channels),
                                      static_cast<uint64_t>(shape_.height), static_cast<uint64_t>(shape_.width)};
    return hash_bytes(key.data(), sizeof(key));
  }

 private:
  // Seed and index go through a hash, so that neighbouring seeds share no image.
  Random random(int64_t index) const {
    ELEK_CHECK(index >= 0 && index < count_, "sample " + std::to_string(index) + " of " + std::to_string(count_));
    return Random(seed_ * 0x9e3779b97f4a7c15ULL ^ static_cast<uint64_t>(index) * 0xd1342543de82ef95ULL);
  }

  void make(int64_t index, std::span<uint8_t> pixels) const {
    ELEK_CHECK(pixels.size() == static_cast<size_t>(shape_.elements()),
               "a buffer of " + std::to_string(pixels.size()) + " bytes for an image of " + to_string(shape_));
    Random noise = random(index);
    Random look(noise.below(kClasses));  // the first draw is the label, as in label()
    uint64_t bits = 0;
    int left = 0;
    for (int64_t c = 0; c < shape_.channels; ++c) {
      const int64_t base = 64 + static_cast<int64_t>(look.below(64));
      const int64_t slope_y = static_cast<int64_t>(look.below(129)) - 64;
      const int64_t slope_x = static_cast<int64_t>(look.below(129)) - 64;
      for (int64_t y = 0; y < shape_.height; ++y) {
        const int64_t row = base + slope_y * y / shape_.height;
        uint8_t* out = pixels.data() + static_cast<size_t>(y * shape_.width * shape_.channels + c);
        for (int64_t x = 0; x < shape_.width; ++x) {
          if (left == 0) {
            bits = noise.next();
            left = 8;
          }
          const int64_t value = row + slope_x * x / shape_.width + static_cast<int64_t>(bits & 127) - 32;
          out[x * shape_.channels] = static_cast<uint8_t>(std::clamp<int64_t>(value, 0, 255));
          bits >>= 8;
          --left;
        }
      }
    }
  }

  const int64_t count_;
  const uint64_t seed_;
  const ImageShape shape_;
  const std::vector<std::string> class_names_;
};

}  // namespace

std::shared_ptr<const Dataset> make_synthetic(int64_t count, uint64_t seed, const ImageShape& shape) {
  ELEK_CHECK(count > 0 && shape.channels > 0 && shape.height > 0 && shape.width > 0, "synthetic data of " + to_string(shape));
  return std::make_shared<Synthetic>(count, seed, shape);
}

}  // namespace elek
