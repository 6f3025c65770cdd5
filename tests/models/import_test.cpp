// SPDX-License-Identifier: Apache-2.0
// Networks from files that have weights only. The files are what PyTorch and timm write
// (tests/fixtures/scripts/make_import.py); the imported graph is computed by the reference in double and must give PyTorch's
// logits of the same weights in double. So a wrong stride, pool, pairing or order shows, and no rounding hides it. Tolerance:
// both sides compute in double; a logit is a chain of at most 30 layers of at most 600 products, so rounding is below 30 * 600
// * 2^-53 < 1e-11 of the largest logit. Where a convolution's bias is moved into a mean, the mean is rounded to f32 (2^-24), in
// each of those layers once: below 1e-5.
#include "models/import.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>

#include "tests/models/import_files.h"
#include "tests/support/reference.h"

namespace elek {
namespace {

using test::assumed;
using test::fixture;
using test::Folder;
using test::import_of;
using test::message_of;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr double kDouble = 1e-11;
constexpr double kRoundedMeans = 1e-5;

template <typename T>
std::vector<T> values(const std::string& name) {
  const SafetensorsFile file = SafetensorsFile::open(fixture("answers"));
  const auto bytes = file.at(name).bytes;
  std::vector<T> out(bytes.size() / sizeof(T));
  std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

/// The largest difference to PyTorch's logits of the network `name`, as a share of the largest logit.
double difference(const Model& model, const std::string& name) {
  const int64_t side = model.graph.input_shape().height;
  const std::vector<double> got = test::run_reference(model, values<uint8_t>("pixels." + std::to_string(side)), 2).logits();
  const std::vector<double> want = values<double>(name);
  EXPECT_EQ(got.size(), want.size());
  double worst = 0;
  double largest = 0;
  for (size_t i = 0; i < std::min(got.size(), want.size()); ++i) {
    worst = std::max(worst, std::fabs(got[i] - want[i]));
    largest = std::max(largest, std::fabs(want[i]));
  }
  return got.size() == want.size() && std::isfinite(worst) ? worst / largest : 1;
}

// ---- networks ----

struct Case {
  std::string name;
  int64_t side = 12;
  std::string architecture;
  double tolerance = kDouble;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class ImportNetwork : public ::testing::TestWithParam<Case> {};

TEST_P(ImportNetwork, ComputesWhatItsNetworkComputes) {
  const Case& c = GetParam();
  const Import import = import_of(c.name, c.side);
  EXPECT_EQ(import.model.architecture, c.architecture);
  EXPECT_LE(difference(import.model, c.name), c.tolerance);
  EXPECT_THAT(import.notes, Not(Contains(HasSubstr("ignored"))));
}

INSTANTIATE_TEST_SUITE_P(
    Files, ImportNetwork,
    ::testing::Values(Case{"timm_resnet", 33, "resnet12"}, Case{"timm_resnet_d", 64, "resnet17d"},
                      Case{"timm_seresnet", 32, "seresnet12"}, Case{"timm_resnext", 32, "resnext17_2x2d"},
                      Case{"cifar_b", 12, "cifar_resnet12"}, Case{"cifar_a", 12, "cifar_resnet12"},
                      Case{"cifar_gate", 12, "cifar_seresnet12"}, Case{"cifar_bias", 12, "cifar_resnet12", kRoundedMeans},
                      Case{"cifar_folded", 12, "cifar_resnet12"}, Case{"cifar_project_first", 12, "cifar_resnet12"},
                      Case{"cifar_3x3_shortcut", 12, "cifar_resnet12"}, Case{"cifar_pruned", 12, "cifar_resnet12"},
                      Case{"bottleneck", 12, "cifar_resnet14"}),
    [](const auto& instance) { return instance.param.name; });

// ---- readings ----

struct ReadingCase {
  std::string name;
  Unseen what;
  std::function<void(WeightsOptions&)> say;
};

// The file of another reading has the same names and shapes. It loads, but what was assumed is said; saying what is true mends
// it.
TEST(ImportReading, WhatTheFileDoesNotShowIsSaidAndCanBeOverruled) {
  const std::vector<ReadingCase> cases = {
      {"cifar_a_end", Unseen::kShortcut, [](WeightsOptions& o) { o.zeros_behind = true; }},
      {"cifar_pool", Unseen::kStem,
       [](WeightsOptions& o) {
         o.max_pool = true;
         o.stem_stride = 1;
       }},
      {"cifar_eps", Unseen::kEpsilon, [](WeightsOptions& o) { o.epsilon = 1e-3; }},
      {"bottleneck_v1", Unseen::kStride, [](WeightsOptions& o) { o.stride_on_first = true; }},
  };
  for (const ReadingCase& c : cases) {
    const Import wrong = import_of(c.name);
    EXPECT_THAT(assumed(wrong), Contains(c.what)) << c.name;
    EXPECT_GT(difference(wrong.model, c.name), 1e-5) << c.name;
    const Import right = import_of(c.name, 12, c.say);
    EXPECT_THAT(assumed(right), Not(Contains(c.what))) << c.name;
    EXPECT_LE(difference(right.model, c.name), kDouble) << c.name;
  }
}

TEST(ImportReading, InputAndPixelsAreAssumedAndSaid) {
  const Import import = import_weights(WeightsFile::open(fixture("cifar_b")), {}, host_resource());
  EXPECT_EQ(import.model.graph.input_shape(), (ImageShape{3, 32, 32}));
  EXPECT_THAT(assumed(import), AllOf(Contains(Unseen::kInputSize), Contains(Unseen::kPixels)));
  EXPECT_EQ(import_weights(WeightsFile::open(fixture("timm_resnet")), {}, host_resource()).model.graph.input_shape(),
            (ImageShape{3, 224, 224}));
}

TEST(ImportReading, IsKeptInTheHistory) {
  const Folder folder;
  const Import import = import_of("cifar_a", 12, [](WeightsOptions& o) { o.epsilon = 2e-5; });
  save_model(import.model, folder / "m.safetensors");
  const History history = load_model(folder / "m.safetensors", host_resource()).history;
  ASSERT_EQ(history.size(), 1U);
  EXPECT_EQ(history[0].target, "cifar_a.safetensors");
  EXPECT_THAT(history[0].source_hash, Not(IsEmpty()));
  std::map<std::string, std::string> kept;
  for (const Assumption& each : history[0].assumptions) kept[each.what] = each.source + ": " + each.value;
  EXPECT_THAT(kept["shortcut"], AllOf(HasSubstr("assumed: option A"), HasSubstr("both sides")));
  EXPECT_EQ(kept["epsilon of batch norm"], "given: 2e-05");
  EXPECT_EQ(kept["input size"], "given: 3x12x12");
  EXPECT_EQ(kept["strides of the stages"], "assumed: 1,2,2, no dilation");
}

TEST(ImportReading, AModelOfElekKeepsItsOwn) {
  const Folder folder;
  Import import = import_of("cifar_a_end", 12, [](WeightsOptions& o) { o.zeros_behind = true; });
  import.model.labels = {"a", "b", "c", "d", "e"};
  save_model(import.model, folder / "m.safetensors");
  const Import again = import_model(SafetensorsFile::open(folder / "m.safetensors"), {}, host_resource());
  EXPECT_EQ(hash(again.model), hash(import.model));
  EXPECT_EQ(again.model.preprocessing.mean, import.model.preprocessing.mean);
  EXPECT_EQ(again.model.labels, import.model.labels);
  EXPECT_THAT(assumed(again), IsEmpty());
  EXPECT_EQ(again.model.history.size(), 2U);
  WeightsOptions options;
  options.input = {3, 20, 16};
  options.preprocessing = Preprocessing{{0, 0, 0}, {1, 1, 1}};
  const Import changed = import_model(SafetensorsFile::open(folder / "m.safetensors"), options, host_resource());
  EXPECT_EQ(changed.model.graph.input_shape(), (ImageShape{3, 20, 16}));
  EXPECT_EQ(changed.model.preprocessing.stddev, (std::vector<float>{1, 1, 1}));
  EXPECT_EQ(changed.model.graph.nodes().size(), import.model.graph.nodes().size());
  options.input = {1, 20, 16};
  EXPECT_THAT(message_of<UsageError>(
                  [&] { (void)import_model(SafetensorsFile::open(folder / "m.safetensors"), options, host_resource()); }),
              HasSubstr("1 channels was asked for"));
}

}  // namespace
}  // namespace elek
