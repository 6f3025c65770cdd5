// SPDX-License-Identifier: Apache-2.0
// The shipped network on all 10,000 shipped test images, through the reader, the prefetching loader and the session. The class
// of every image must be PyTorch's, and so must the number of correct ones (9,340). The smallest distance between PyTorch's
// best and second logit is 3.0e-4, over thirty times the rounding of two f32 logits here, so no difference can be explained by
// a tie.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "elek/data.h"
#include "elek/session.h"
#include "models/safetensors.h"
#include "tests/golden/shipped.h"

namespace elek {
namespace {

constexpr int64_t kImages = 10000;
constexpr int64_t kSlice = 1000;
constexpr int64_t kCorrect = 9340;  // of PyTorch, as tests/fixtures/scripts/make_logits.py prints it

TEST(FashionAccuracy, EqualsPyTorchToTheImage) {
  const SafetensorsFile torch = SafetensorsFile::open(std::string(ELEK_TEST_DATA) + "/logits/fashion_mnist.safetensors");
  const auto want = torch.at("predictions").bytes;
  ASSERT_EQ(want.size(), static_cast<size_t>(kImages));

  SessionOptions options;
  options.batch = 96;  // 10,000 = 104 * 96 + 16: the last batch is partial
  Session session(test::shipped_model(), options);
  const auto dataset = parse_data("idx:" + test::kShippedFolder + ":test", session.graph().input_shape());
  const auto source = make_loader(dataset, {});
  int64_t index = 0;
  int64_t differing = 0;
  int64_t correct = 0;
  int64_t correct_in_slice = 0;
  const auto visit = [&](const Slot& slot, std::span<const float> logits) {
    const size_t classes = logits.size() / static_cast<size_t>(slot.count);
    for (int64_t n = 0; n < slot.count; ++n, ++index) {
      const auto row = logits.subspan(static_cast<size_t>(n) * classes, classes);
      const auto best = static_cast<int>(std::max_element(row.begin(), row.end()) - row.begin());
      const int torch_best = std::to_integer<int>(want[static_cast<size_t>(index)]);
      correct += best == slot.labels[n] ? 1 : 0;
      correct_in_slice += best == slot.labels[n] && index < kSlice ? 1 : 0;
      if (best == torch_best) continue;
      ++differing;
      ADD_FAILURE() << "image " << index << ": class " << best << " (logit " << row[static_cast<size_t>(best)]
                    << "), PyTorch's class " << torch_best << " (logit " << row[static_cast<size_t>(torch_best)] << ")";
    }
  };
  EXPECT_EQ(for_each_batch(session, *source, 0, {}, visit), kImages);
  EXPECT_EQ(index, kImages);
  EXPECT_EQ(differing, 0);
  EXPECT_EQ(correct, kCorrect);

  // evaluate() counts the same on a part of the data, with another batch size.
  options.batch = 50;
  Session other(test::shipped_model(), options);
  const auto slice =
      make_loader(parse_data("idx:" + test::kShippedFolder + ":test[0:1000]", session.graph().input_shape()), {});
  const Accuracy accuracy = evaluate(other, *slice);
  EXPECT_EQ(accuracy.samples, kSlice);
  EXPECT_DOUBLE_EQ(accuracy.top1, static_cast<double>(correct_in_slice) / static_cast<double>(kSlice));
}

}  // namespace
}  // namespace elek
