// SPDX-License-Identifier: Apache-2.0
// The metrics taylor and fisher: their sums against PyTorch's on five kinds of networks, what they do with labels, batches,
// dead channels and NaN, and the costs made of them. The fixture is in double and folds nothing
// (tests/fixtures/scripts/make_gradients.py).
#include "prune/gradient_importance.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "elek/memory.h"
#include "elek/model.h"
#include "models/safetensors.h"
#include "prune/early_checks.h"
#include "prune/recipe_steps.h"
#include "tests/fixtures/generated.h"
#include "tests/prune/array_source.h"
#include "tests/prune/networks.h"
#include "tests/support/models.h"
#include "tests/support/reference.h"

namespace elek::test {
namespace {

using ::testing::HasSubstr;
using train::GradientOptions;
using train::Labels;

constexpr int64_t kImages = 6, kBatch = 3;
const std::vector<std::string> kNetworks = {"basic", "option_a", "bottleneck", "depthwise", "concat"};

/// An array of images with labels.
class Labelled final : public BatchSource {
 public:
  Labelled(std::vector<uint8_t> pixels, std::vector<int32_t> labels)
      : images_(std::move(pixels), std::ssize(labels)), labels_(std::move(labels)) {}
  [[nodiscard]] int64_t samples() const override { return std::ssize(labels_); }
  [[nodiscard]] int64_t classes() const override { return 5; }
  [[nodiscard]] std::string description() const override { return "labelled"; }
  void start(std::span<Slot> slots) override {
    images_.start(slots);
    done_ = 0;
  }
  [[nodiscard]] const Slot* next() override {
    const Slot* const slot = images_.next();
    if (slot == nullptr) return nullptr;
    std::copy_n(labels_.begin() + done_, slot->count, slot->labels);
    done_ += slot->count;
    return slot;
  }
  void stop() noexcept override { images_.stop(); }

 private:
  ArraySource images_;
  std::vector<int32_t> labels_;
  int64_t done_ = 0;
};

Graph residual_graph(bool bottleneck, Shortcut shortcut) {
  ResNetSpec spec;
  spec.name = "tiny";
  spec.bottleneck = bottleneck;
  spec.blocks = {2, 1};
  spec.widths = {4, 8};
  spec.expansion = bottleneck ? 2 : 1;
  spec.stem = Stem::kCifar;
  spec.shortcut = shortcut;
  spec.classes = 5;
  spec.input = {3, 8, 8};
  return build_resnet(spec);
}

Graph depthwise_graph() {
  Graph g;
  const auto conv = [&](const std::string& name, const Conv2dAttrs& attrs, ValueId x) {
    return g.add(name + ".relu", ReluAttrs{}, {g.add(name, attrs, {x})});
  };
  ValueId x = conv("expand", {.out_channels = 6, .bias = true}, g.add("input", InputAttrs{{3, 4, 4}}, {}));
  x = conv("depthwise", {.out_channels = 6, .kernel = 3, .padding = 1, .groups = 6, .bias = true}, x);
  x = conv("project", {.out_channels = 4}, x);
  g.set_output(g.add("fc", LinearAttrs{5, true}, {g.add("flat", FlattenAttrs{}, {x})}));
  return g;
}

Graph concat_graph() {
  Graph g;
  const auto conv = [&](const std::string& name, int64_t channels, int64_t kernel, ValueId x) {
    const Conv2dAttrs attrs{.out_channels = channels, .kernel = kernel, .padding = kernel / 2, .bias = true};
    return g.add(name + ".relu", ReluAttrs{}, {g.add(name, attrs, {x})});
  };
  const ValueId stem = conv("stem", 5, 3, g.add("input", InputAttrs{{3, 8, 8}}, {}));
  const ValueId joined = g.add("joined", ConcatAttrs{}, {conv("left", 4, 1, stem), conv("right", 3, 3, stem)});
  const ValueId mean = g.add("mean", GlobalAvgPoolAttrs{}, {conv("both", 6, 3, joined)});
  g.set_output(g.add("fc", LinearAttrs{5, true}, {g.add("flat", FlattenAttrs{}, {mean})}));
  return g;
}

Graph graph_named(const std::string& name) {
  if (name == "depthwise") return depthwise_graph();
  if (name == "concat") return concat_graph();
  return residual_graph(name == "bottleneck", name == "option_a" ? Shortcut::kA : Shortcut::kB);
}

Model model_named(const std::string& name) {
  Model model;
  model.graph = graph_named(name);
  const auto block = name == "bottleneck" ? generated::Block::kBottleneck : generated::Block::kBasic;
  model.parameters = generated::parameters(name, model.graph, block, host_resource());
  model.preprocessing = generated::imagenet_preprocessing();
  return model;
}

std::vector<uint8_t> pixels_of(const std::string& name, const Model& model) {
  return generated::pixels(name + "/pixels", kImages, model.graph.input_shape());
}

const SafetensorsFile& fixture() {
  static const SafetensorsFile file = SafetensorsFile::open(std::string(ELEK_TEST_DATA) + "/gradients.safetensors");
  return file;
}

template <typename T>
std::vector<T> stored(const std::string& name) {
  const auto bytes = fixture().at(name).bytes;
  std::vector<T> out(bytes.size() / sizeof(T));
  std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

std::vector<int32_t> labels_of(const std::string& name) {
  std::vector<int32_t> labels;
  for (const int64_t label : stored<int64_t>(name + "/labels")) labels.push_back(static_cast<int32_t>(label));
  return labels;
}

Scores importance(const Model& model, std::vector<uint8_t> pixels, const std::vector<int32_t>& labels,
                  const GradientOptions& options) {
  Labelled source(std::move(pixels), labels);
  return gradient_importance(model, find_groups(model.graph), source, options, "test", {});
}

/// The root of an importance is a root mean square of sums P of products. f32 errors of P are measured by the largest P of the
/// group: at most 2,000 terms follow one another forward and back, each rounded by 2^-24 (as in trainer_test.cpp).
void expect_equal(const std::vector<double>& got, const std::vector<double>& want, const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  const double largest = std::sqrt(*std::ranges::max_element(want));
  for (size_t c = 0; c < got.size(); ++c) {
    EXPECT_NEAR(std::sqrt(got[c]), std::sqrt(want[c]), 2000 * 0x1p-24 * largest) << what << " channel " << c;
  }
}

TEST(GradientImportance, IsThatOfPyTorch) {
  for (const std::string& name : kNetworks) {
    const Model model = model_named(name);
    const std::vector<Group> groups = find_groups(model.graph);
    for (const bool each_image : {false, true}) {
      const GradientOptions options{.batch = kBatch, .each_image = each_image, .labels = Labels::kGiven, .threads = 2};
      const Scores got = importance(model, pixels_of(name, model), labels_of(name), options);
      size_t compared = 0;
      for (const auto& [key, entry] : fixture().entries()) {
        const std::string suffix = each_image ? ".fisher" : ".taylor";
        if (!key.starts_with(name + "/") || !key.ends_with(suffix)) continue;
        const std::string value = key.substr(name.size() + 1, key.size() - name.size() - 1 - suffix.size());
        expect_equal(got[find_group(model.graph, groups, value)], stored<double>(key), key);
        ++compared;
      }
      const auto prunable = std::ranges::count_if(groups, [](const Group& g) { return g.prunable; });
      EXPECT_EQ(compared, static_cast<size_t>(prunable)) << name << ": every group is compared";
    }
  }
}

/// By default the labels are the classes of the largest logits, whatever the source says.
TEST(GradientImportance, WithoutLabelsThePredictionsAreTheLabels) {
  const Model model = model_named("basic");
  const std::vector<uint8_t> pixels = pixels_of("basic", model);
  const std::vector<double> logits = run_reference(model, pixels, kImages).logits();
  std::vector<int32_t> predicted;
  for (int64_t i = 0; i < kImages; ++i) {
    const auto first = logits.begin() + 5 * i;
    predicted.push_back(static_cast<int32_t>(std::max_element(first, first + 5) - first));
  }
  ASSERT_NE(predicted, labels_of("basic"));
  const Scores got = importance(model, pixels, std::vector<int32_t>(kImages, -1), {.batch = kBatch, .threads = 1});
  const auto with = [&](const std::vector<int32_t>& labels) {
    return importance(model, pixels, labels, {.batch = kBatch, .labels = Labels::kGiven, .threads = 1});
  };
  EXPECT_EQ(got, with(predicted));
  EXPECT_NE(got, with(labels_of("basic")));
}

TEST(GradientImportance, LabelsThatTheNetworkDoesNotKnowAreAnError) {
  const Model model = model_named("basic");
  for (const int32_t label : {-1, 5}) {
    std::vector<int32_t> labels(kImages, 0);
    labels[4] = label;
    try {
      (void)importance(model, pixels_of("basic", model), labels, {.batch = 4, .labels = Labels::kGiven, .threads = 1});
      FAIL() << "no error";
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr("image 4 of 'labelled'"));
    }
  }
}

/// Fisher does not depend on the batches, Taylor does: a batch of one image is Fisher.
TEST(GradientImportance, OnlyTaylorDependsOnTheBatch) {
  const Model model = model_named("option_a");
  const auto with = [&](int64_t batch, bool each_image) {
    return importance(model, pixels_of("option_a", model), labels_of("option_a"),
                      {.batch = batch, .each_image = each_image, .labels = Labels::kGiven, .threads = 1});
  };
  EXPECT_EQ(with(1, true), with(4, true));
  EXPECT_EQ(with(1, false), with(4, true));
  EXPECT_NE(with(4, false), with(4, true));
}

/// Little memory: a batch runs in parts of one image, and the sums are those of the whole batch.
TEST(GradientImportance, ABatchInPartsIsTheSameBatch) {
  const Model model = model_named("bottleneck");
  const auto with = [&](size_t arena_bytes) {
    return importance(model, pixels_of("bottleneck", model), labels_of("bottleneck"),
                      {.batch = 6, .labels = Labels::kGiven, .arena_bytes = arena_bytes, .threads = 1});
  };
  const Scores whole = with(size_t{1} << 30), parts = with(0);
  EXPECT_NE(whole, parts) << "the parts were not run one by one: rounding alone should differ";
  for (size_t g = 0; g < whole.size(); ++g) {
    if (!whole[g].empty()) expect_equal(parts[g], whole[g], "group " + std::to_string(g));
  }
}

/// A channel whose ReLU never fires has gradients and inputs of zero.
TEST(GradientImportance, ADeadChannelScoresZero) {
  Model model = model_named("concat");
  auto bias = std::make_shared<Tensor>(model.parameter("left.bias").clone(host_resource(), "left.bias"));
  bias->f32()[2] = -1e6F;
  model.parameters["left.bias"] = std::move(bias);
  const std::vector<Group> groups = find_groups(model.graph);
  const Scores got = importance(model, pixels_of("concat", model), labels_of("concat"), {.labels = Labels::kGiven});
  const std::vector<double>& left = got[find_group(model.graph, groups, "left")];
  EXPECT_EQ(left[2], 0);
  EXPECT_GT(left[0], 0);
}

/// The model with all values of one parameter times `factor`.
Model scaled(Model model, const std::string& name, float factor) {
  auto tensor = std::make_shared<Tensor>(model.parameter(name).clone(host_resource(), name));
  for (float& value : tensor->f32()) value *= factor;
  model.parameters[name] = std::move(tensor);
  return model;
}

std::string error_of(const Model& model) {
  try {
    (void)importance(model, pixels_of("depthwise", model), labels_of("depthwise"), {.labels = Labels::kGiven});
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(GradientImportance, NanIsRefusedByName) {
  const Model model = model_named("depthwise");
  EXPECT_THAT(error_of(model), HasSubstr("no error"));
  EXPECT_THAT(error_of(scaled(model, "fc.weight", NAN)), HasSubstr("a logit of image 0 of 'labelled' is NaN"));
  // Small values times large weights are finite logits, but the gradient of the small values overflows.
  const Model large = scaled(scaled(scaled(model, "project.weight", 1e-36F), "fc.weight", 1e30F), "fc.weight", 1e9F);
  EXPECT_THAT(error_of(large), HasSubstr("the gradient of '"));
}

TEST(GradientImportance, CostsAddUpFromTheLowestImportanceOn) {
  const Scores costs = costs_in_order({{3, 1, 2, 1}, {}, {0, 0.5}});
  EXPECT_EQ(costs, (Scores{{7, 1, 4, 2}, {}, {0, 0.5}}));
}

TEST(GradientCriteria, MeasureWhatTheySay) {
  const Model model = model_named("basic");
  const std::vector<Group> groups = find_groups(model.graph);
  MeasureOptions how;
  how.session.batch = kBatch;
  how.session.threads = 1;
  how.use_labels = true;
  for (const bool each_image : {false, true}) {
    const Criterion& criterion = find_criterion(each_image ? "fisher" : "taylor");
    EXPECT_EQ(criterion.scope_for(std::nullopt), Scope::kMacs);
    EXPECT_TRUE(criterion.traits().reads_labels);
    Labelled source(pixels_of("basic", model), labels_of("basic"));
    Evidence evidence;
    evidence.costs[criterion.name()] = criterion.measure(model, groups, source, how, {});
    const GradientOptions options{.batch = kBatch, .each_image = each_image, .labels = Labels::kGiven, .threads = 1};
    const Scores want = costs_in_order(importance(model, pixels_of("basic", model), labels_of("basic"), options));
    EXPECT_EQ(score_channels(model, groups, criterion, evidence, 0), want);
    const Forecast told = criterion.forecast(model.graph, groups, kImages, how);
    EXPECT_EQ(told.gradient_images, each_image ? 1 : kBatch);
    EXPECT_EQ(told.moments_bytes, 0U);
  }
}

/// The forecast is the peak, whatever the number of images.
TEST(GradientCriteria, TheForecastOfMemoryHolds) {
  const Model model = model_named("bottleneck");
  const std::vector<Group> groups = find_groups(model.graph);
  const int64_t each = model.graph.input_shape().elements();
  for (const char* name : {"taylor", "fisher"}) {
    for (const size_t arena_bytes : {size_t{0}, size_t{1} << 30}) {
      for (const int64_t samples : {4, 40}) {
        Tracker memory(host_resource());
        MeasureOptions how;
        how.session.batch = 4;
        how.session.threads = 2;
        how.session.memory = &memory;
        how.arena_bytes = arena_bytes;
        ArraySource source(std::vector<uint8_t>(static_cast<size_t>(samples * each), 100), samples);
        (void)find_criterion(name).measure(model, groups, source, how, {});
        EXPECT_EQ(memory.figures().live_bytes, 0U);
        EXPECT_EQ(memory.figures().peak_bytes, find_criterion(name).forecast(model.graph, groups, samples, how).gradient_bytes)
            << name;
      }
    }
  }
}

/// Is told the forecast.
class Told final : public CutObserver {
 public:
  void forecast(const Forecast& work) override { told = work; }
  Forecast told;
};

/// What is left decides the parts of a batch; less than one image needs is refused before the work.
TEST(GradientCriteria, ALimitOfMemoryIsKept) {
  const Model model = model_named("bottleneck");
  const std::vector<Group> groups = find_groups(model.graph);
  CutOptions options;
  options.criterion = &find_criterion("taylor");
  options.session.batch = kImages;
  options.session.threads = 1;
  MeasureOptions how;
  how.session = options.session;
  const size_t whole = options.criterion->forecast(model.graph, groups, kImages, how).gradient_bytes;
  how.arena_bytes = 0;
  const size_t least = options.criterion->forecast(model.graph, groups, kImages, how).gradient_bytes;
  ASSERT_LT(least, whole);
  size_t left = least - 1;
  options.memory_left = [&left] { return std::optional<size_t>(left); };
  EXPECT_THROW(check_memory(model, options), OutOfMemory);
  Told observer;
  ArraySource source(pixels_of("bottleneck", model), kImages);
  const CutRun run{options, source, nullptr, observer};
  EXPECT_THROW((void)gather(model, run), OutOfMemory);
  for (const size_t bytes : {least, (least + whole) / 2, 2 * whole}) {
    left = bytes;
    Tracker memory(host_resource());
    options.session.memory = &memory;
    (void)gather(model, run);
    EXPECT_EQ(observer.told.criterion, "taylor");
    EXPECT_EQ(observer.told.gradient_images == kImages, bytes > whole) << bytes;
    EXPECT_LE(memory.figures().peak_bytes, bytes);
    EXPECT_EQ(memory.figures().peak_bytes, observer.told.gradient_bytes);
  }
}

/// Each round takes the gradients of its own network.
TEST(GradientCriteria, RoundsReachTheTargetOfOneCut) {
  const Model model = model_named("basic");
  CutOptions options;
  options.criterion = &find_criterion("fisher");
  options.session.batch = kBatch;
  options.session.threads = 1;
  options.use_labels = true;
  options.channels.share = 0.5;
  options.channels.round_to = 1;
  options.repair = Repair::kNone;
  std::vector<int64_t> left;
  for (const int steps : {1, 2}) {
    options.steps = steps;
    Labelled source(pixels_of("basic", model), labels_of("basic"));
    CutObserver nobody;
    const CutReport report = cut(model, source, nullptr, options, nobody);
    EXPECT_EQ(report.plan.criterion, "fisher labels=given");
    EXPECT_EQ(report.model.history.back().calibration_samples, kImages);
    left.push_back(macs(report.model.graph));
  }
  EXPECT_LT(left[0], macs(model.graph));
  EXPECT_NEAR(static_cast<double>(left[1]), static_cast<double>(left[0]), 0.1 * static_cast<double>(macs(model.graph)));
}

}  // namespace
}  // namespace elek::test
