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
#include <functional>

#include "tests/models/files.h"
#include "tests/support/reference.h"

namespace elek {
namespace {

using test::Folder;
using test::message_of;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr double kDouble = 1e-11;
constexpr double kRoundedMeans = 1e-5;

std::string fixture(const std::string& name) { return std::string(ELEK_TEST_DATA) + "/import/" + name + ".safetensors"; }

/// The tensors of a file, to be changed and written again.
struct Tensors {
  struct Array {
    std::string dtype;
    std::vector<int64_t> shape;
    std::vector<std::byte> bytes;
  };
  std::map<std::string, Array> arrays;

  explicit Tensors(const std::string& name) {
    const SafetensorsFile file = SafetensorsFile::open(fixture(name));
    for (const auto& [key, entry] : file.entries()) {
      arrays[key] = {std::string(entry.dtype), entry.shape, {entry.bytes.begin(), entry.bytes.end()}};
    }
  }
  /// Every name through `change`.
  Tensors& rename(const std::function<std::string(std::string)>& change) {
    std::map<std::string, Array> renamed;
    for (auto& [name, array] : arrays) renamed[change(name)] = std::move(array);
    arrays = std::move(renamed);
    return *this;
  }
  /// Replaces text in all names.
  Tensors& replace(const std::string& from, const std::string& to) {
    return rename([&](std::string name) {
      for (size_t at = name.find(from); at != std::string::npos; at = name.find(from, at + to.size()))
        name.replace(at, from.size(), to);
      return name;
    });
  }
  Tensors& prefix(const std::string& text) {
    return rename([&](const std::string& name) { return text + name; });
  }
  void add(const std::string& name, std::vector<int64_t> shape, float value = 0) {
    int64_t count = 1;
    for (const int64_t dim : shape) count *= dim;
    const std::vector<float> values(static_cast<size_t>(count), value);
    const auto bytes = test::bytes_of(values);
    arrays[name] = {"F32", std::move(shape), {bytes.begin(), bytes.end()}};
  }
  [[nodiscard]] WeightsFile file(const Folder& folder) const {
    std::vector<SafetensorsEntry> entries;
    for (const auto& [name, array] : arrays) entries.push_back({name, DType::kF32, array.shape, test::bytes_of(array.bytes)});
    write_safetensors(folder / "w.safetensors", entries, {});
    return WeightsFile::open(folder / "w.safetensors");
  }
};

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

WeightsOptions options_for(int64_t side) {
  WeightsOptions options;
  options.input = {3, side, side};
  options.preprocessing = Preprocessing{{0.5F, 0.5F, 0.5F}, {0.25F, 0.25F, 0.25F}};
  return options;
}

Import import_of(const std::string& name, int64_t side = 12, const std::function<void(WeightsOptions&)>& change = {}) {
  WeightsOptions options = options_for(side);
  if (change) change(options);
  return import_weights(WeightsFile::open(fixture(name)), options, host_resource());
}

/// The answers that were assumed.
std::vector<Unseen> assumed(const Import& import) {
  std::vector<Unseen> what;
  for (const Taken& taken : import.taken) {
    if (taken.assumed()) what.push_back(taken.what);
  }
  return what;
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

// ---- names ----

/// The network under other names is the same network.
void expect_same(const std::string& name, Tensors& tensors, const std::string& what,
                 const std::function<void(WeightsOptions&)>& change = {}) {
  const Folder folder;
  WeightsOptions options = options_for(name.starts_with("timm") ? 32 : 12);
  if (change) change(options);
  try {
    const Import import = import_weights(tensors.file(folder), options, host_resource());
    EXPECT_EQ(hash(import.model), hash(import_of(name, options.input->height).model)) << what;
  } catch (const Error& error) {
    ADD_FAILURE() << what << ": " << error.what();
  }
}

TEST(ImportNames, AnyPrefix) {
  for (const char* prefix : {"module.", "_orig_mod.", "module._orig_mod.", "model.", "net.", "backbone.", "resnet.",
                             "module.encoder_q.", "state.model.ema_model.module."}) {
    Tensors tensors("cifar_b");
    expect_same("cifar_b", tensors.prefix(prefix), prefix);
  }
}

TEST(ImportNames, AnyHead) {
  for (const char* head :
       {"fc.", "classifier.", "head.", "last_linear.", "fc.1.", "head.fc.", "classifier.1.", "output.", "projection."}) {
    Tensors tensors("cifar_b");
    expect_same("cifar_b", tensors.replace("linear.", head), head);
  }
}

using Replacements = std::vector<std::pair<std::string, std::string>>;

void expect_schemes(const std::string& name, const std::map<std::string, Replacements>& schemes) {
  for (const auto& [scheme, replacements] : schemes) {
    Tensors tensors(name);
    for (const auto& [from, to] : replacements) tensors.replace(from, to);
    expect_same(name, tensors, scheme);
  }
}

TEST(ImportNames, SchemesOfBasicBlocks) {
  expect_schemes("cifar_b",
                 {{"torchvision", {{"shortcut.", "downsample."}, {"linear", "fc"}}},
                  {"stem conv, bn",
                   {{"conv1.weight", "CONV"},
                    {"layer", "L"},
                    {"L1.0.CONV", "L1.0.conv1.weight"},
                    {"L1.1.CONV", "L1.1.conv1.weight"},
                    {"L2.0.CONV", "L2.0.conv1.weight"},
                    {"L2.1.CONV", "L2.1.conv1.weight"},
                    {"L3.0.CONV", "L3.0.conv1.weight"},
                    {"CONV", "conv.weight"},
                    {"L", "layer"}}},
                  {"underscores", {{"layer", "stage_"}, {"conv", "conv_"}, {"bn", "bn_"}, {"shortcut.", "shortcut_"}}},
                  {"all underscores", {{".", "_"}}},
                  {"transformers",
                   {{"layer1", "encoder.stages.0.layers"},
                    {"layer2", "encoder.stages.1.layers"},
                    {"layer3", "encoder.stages.2.layers"},
                    {"shortcut.0", "shortcut.convolution"},
                    {"shortcut.1", "shortcut.normalization"},
                    {"s.0.conv1", "s.0.layer.0.convolution"},
                    {"s.0.bn1", "s.0.layer.0.normalization"},
                    {"s.0.conv2", "s.0.layer.1.convolution"},
                    {"s.0.bn2", "s.0.layer.1.normalization"},
                    {"s.1.conv1", "s.1.layer.0.convolution"},
                    {"s.1.bn1", "s.1.layer.0.normalization"},
                    {"s.1.conv2", "s.1.layer.1.convolution"},
                    {"s.1.bn2", "s.1.layer.1.normalization"},
                    {"conv1.", "embedder.embedder.convolution."},
                    {"bn1.", "embedder.embedder.normalization."},
                    {"linear", "classifier.1"}}},
                  {"lists inside blocks",
                   {{"conv1", "residual_function.0"},
                    {"bn1", "residual_function.1"},
                    {"conv2", "residual_function.3"},
                    {"bn2", "residual_function.4"}}},
                  {"left and right",
                   {{"conv1", "left.0"}, {"bn1", "left.1"}, {"conv2", "left.3"}, {"bn2", "left.4"}, {"shortcut", "right"}}},
                  {"convolution inside a unit",
                   {{"conv1", "body.conv1.conv"},
                    {"bn1", "body.conv1.bn"},
                    {"conv2", "body.conv2.conv"},
                    {"bn2", "body.conv2.bn"},
                    {"shortcut.0", "identity_conv.conv"},
                    {"shortcut.1", "identity_conv.bn"}}},
                  {"norm below the convolution",
                   {{"bn1", "conv1.norm"},
                    {"bn2", "conv2.norm"},
                    {"shortcut.0.", "shortcut."},
                    {"shortcut.1.", "shortcut.norm."},
                    {"layer", "res"}}},
                  {"blocks in one list",
                   {{"layer1.", "blocks."}, {"layer2.0", "blocks.2"}, {"layer2.1", "blocks.3"}, {"layer3.0", "blocks.10"}}},
                  {"gamma and beta",
                   {{"bn1.weight", "bn1.gamma"},
                    {"bn1.bias", "bn1.beta"},
                    {"bn2.weight", "bn2.gamma"},
                    {"bn2.bias", "bn2.beta"},
                    {"running_mean", "moving_mean"},
                    {"running_var", "moving_variance"}}},
                  {"expand and project words",
                   {{"conv1", "conv_first"}, {"conv2", "conv_second"}, {"bn1", "bn_first"}, {"bn2", "bn_second"}}}});
}

/// "res3b_branch2c": stage 3 (the second), block b, third convolution. Its batch norm is "bn3b_branch2c".
Replacements caffe_names() {
  Replacements names;
  const std::pair<const char*, const char*> blocks[] = {
      {"layer1.0", "2a"}, {"layer2.0", "3a"}, {"layer2.1", "3b"}, {"layer3.0", "4a"}};
  for (const auto& [layer, block] : blocks) {
    const std::string from = layer, to = block;
    for (const auto& [number, letter] : {std::pair{"1", "a"}, {"2", "b"}, {"3", "c"}}) {
      names.emplace_back(from + ".conv" + number, "res" + to + "_branch2" + letter);
      names.emplace_back(from + ".bn" + number, "bn" + to + "_branch2" + letter);
    }
    names.emplace_back(from + ".shortcut.0", "res" + to + "_branch1");
    names.emplace_back(from + ".shortcut.1", "bn" + to + "_branch1");
  }
  names.emplace_back("bn1.", "bn_conv1.");
  return names;
}

TEST(ImportNames, SchemesOfBottlenecks) {
  expect_schemes("bottleneck", {{"Caffe", caffe_names()},
                                {"Keras",
                                 {{"layer1.0.conv", "conv2_block1_N"},
                                  {"layer1.0.bn", "conv2_block1_B"},
                                  {"N1.", "1_conv."},
                                  {"N2.", "2_conv."},
                                  {"N3.", "3_conv."},
                                  {"B1.", "1_bn."},
                                  {"B2.", "2_bn."},
                                  {"B3.", "3_bn."},
                                  {"layer1.0.shortcut.0", "conv2_block1_0_conv"},
                                  {"layer1.0.shortcut.1", "conv2_block1_0_bn"}}},
                                {"words", {{"conv1.", "conv_reduce."}, {"conv2.", "conv_window."}, {"conv3.", "conv_expand."}}},
                                {"detectron",
                                 {{"layer1", "res2"},
                                  {"layer2", "res3"},
                                  {"layer3", "res4"},
                                  {"bn1", "conv1.norm"},
                                  {"bn2", "conv2.norm"},
                                  {"bn3", "conv3.norm"}}}});
}

TEST(ImportNames, LinearWithoutBiasHasZeros) {
  const Folder folder;
  Tensors tensors("cifar_b");
  tensors.arrays.erase("linear.bias");
  const Import import = import_weights(tensors.file(folder), options_for(12), host_resource());
  for (const float value : import.model.parameter("fc.bias").f32()) EXPECT_EQ(value, 0.0F);
}

TEST(ImportNames, WeightsAreMultipliedWithTheirMasks) {
  const Folder folder;
  Tensors tensors("cifar_b");
  tensors.replace("layer1.0.conv1.weight", "layer1.0.conv1.weight_orig");
  tensors.add("layer1.0.conv1.weight_mask", {3, 3, 3, 3}, 0);
  const Import import = import_weights(tensors.file(folder), options_for(12), host_resource());
  for (const float value : import.model.parameter("layer1.0.conv1.weight").f32()) EXPECT_EQ(value, 0.0F);
  tensors.add("layer1.0.conv1.weight_mask", {3, 3, 3, 3}, 1);
  expect_same("cifar_b", tensors, "a mask of ones");
  tensors.arrays.erase("layer1.0.conv1.weight_mask");
  EXPECT_THAT(message_of<InputError>([&] { (void)import_weights(tensors.file(folder), options_for(12), host_resource()); }),
              AllOf(HasSubstr("layer1.0.conv1.weight_orig"), HasSubstr("mask is missing")));
}

TEST(ImportNames, ExtrasAreIgnoredAndNamed) {
  const Folder folder;
  Tensors tensors("cifar_b");
  tensors.prefix("module.");
  tensors.add("n_averaged", {1});
  tensors.add("module.layer1.0.conv1.total_ops", {1});
  tensors.add("module.layer1.0.conv1.weight_mask", {3, 3, 3, 3}, 1);
  tensors.add("loss.centers", {5, 6});
  const Import import = import_weights(tensors.file(folder), options_for(12), host_resource());
  EXPECT_EQ(hash(import.model), hash(import_of("cifar_b").model));
  EXPECT_THAT(import.notes, Contains(AllOf(HasSubstr("ignored"), HasSubstr("n_averaged"), HasSubstr("total_ops"),
                                           HasSubstr("weight_mask"), HasSubstr("loss.centers"))));
}

TEST(ImportNames, RenameDoesTheRest) {
  Tensors tensors("cifar_b");
  tensors.replace("layer2.0.shortcut.0", "somewhere.else");
  tensors.replace("conv1.weight", "conv1.kernel");
  const auto rename = [](WeightsOptions& o) {
    o.renames = {{"somewhere.else", "layer2.0.shortcut.0"},          {"conv1.kernel", "conv1.weight"},
                 {"layer1.0.conv1.kernel", "layer1.0.conv1.weight"}, {"layer1.1.conv1.kernel", "layer1.1.conv1.weight"},
                 {"layer2.0.conv1.kernel", "layer2.0.conv1.weight"}, {"layer2.1.conv1.kernel", "layer2.1.conv1.weight"},
                 {"layer3.0.conv1.kernel", "layer3.0.conv1.weight"}};
  };
  expect_same("cifar_b", tensors, "renamed", rename);
  const Folder folder;
  WeightsOptions options = options_for(12);
  options.renames = {{"somewhere.elze", "x"}};
  EXPECT_THAT(message_of<InputError>([&] { (void)import_weights(tensors.file(folder), options, host_resource()); }),
              AllOf(HasSubstr("somewhere.elze"), HasSubstr("somewhere.else")));
}

TEST(ImportNames, SeveralNetworksMustBeChosenFrom) {
  const Folder folder;
  Tensors tensors("cifar_b");
  tensors.prefix("model.");
  Tensors average("cifar_b");
  average.prefix("model_ema.");
  tensors.arrays.merge(average.arrays);
  const WeightsOptions options = options_for(12);
  EXPECT_THAT(message_of<InputError>([&] { (void)import_weights(tensors.file(folder), options, host_resource()); }),
              AllOf(HasSubstr("2 networks"), HasSubstr("\"model\""), HasSubstr("\"model_ema\"")));
  const WeightsFile average_only = WeightsFile::open(folder / "w.safetensors", "model_ema");
  EXPECT_EQ(hash(import_weights(average_only, options, host_resource()).model), hash(import_of("cifar_b").model));
}

TEST(ImportNames, ANetworkBesideAnotherWithoutAPrefixIsNotTakenSilently) {
  const Folder folder;
  Tensors tensors("cifar_b");
  Tensors average("cifar_b");
  average.prefix("ema.");
  tensors.arrays.merge(average.arrays);
  EXPECT_THAT(message_of<InputError>([&] { (void)import_weights(tensors.file(folder), options_for(12), host_resource()); }),
              AllOf(HasSubstr("2 networks"), HasSubstr("\"ema\""), HasSubstr("without a prefix")));
}

TEST(ImportNames, ABackboneBesideOtherLayersIsTaken) {
  const Folder folder;
  Tensors tensors("cifar_b");
  tensors.prefix("backbone.").replace("backbone.linear", "head.fc");
  tensors.add("neck.lateral.weight", {4, 6, 1, 1});
  const Import import = import_weights(tensors.file(folder), options_for(12), host_resource());
  EXPECT_EQ(hash(import.model), hash(import_of("cifar_b").model));
  EXPECT_THAT(import.notes, Contains(AllOf(HasSubstr("ignored"), HasSubstr("neck.lateral"))));
}

TEST(ImportNames, WithoutAClassifierTheFeaturesAreTheOutput) {
  const Folder folder;
  Tensors tensors("cifar_b");
  tensors.arrays.erase("linear.weight");
  tensors.arrays.erase("linear.bias");
  const Import import = import_weights(tensors.file(folder), options_for(12), host_resource());
  EXPECT_EQ(import.model.graph.node(import.model.graph.output()).shape, (ImageShape{6, 1, 1}));
  EXPECT_THAT(import.notes, Contains(HasSubstr("no classifier")));
}

TEST(ImportNames, AClassifierMayBeA1x1Convolution) {
  Tensors tensors("cifar_b");
  tensors.arrays.at("linear.weight").shape = {5, 6, 1, 1};
  expect_same("cifar_b", tensors, "1x1 convolution");
}

// ---- what is refused ----

std::string refusal(Tensors& tensors, const std::function<void(WeightsOptions&)>& change = {}) {
  const Folder folder;
  WeightsOptions options = options_for(12);
  if (change) change(options);
  return message_of<InputError>([&] { (void)import_weights(tensors.file(folder), options, host_resource()); });
}

TEST(ImportRefuses, NormalisationsThatItDoesNotCompute) {
  Tensors group("cifar_b");
  std::erase_if(group.arrays, [](const auto& each) { return each.first.find("running") != std::string::npos; });
  EXPECT_THAT(refusal(group), AllOf(HasSubstr("no running_mean"), HasSubstr("group norm")));
  Tensors none("cifar_b");
  std::erase_if(none.arrays, [](const auto& each) { return each.first.find("bn1") != std::string::npos; });
  EXPECT_THAT(refusal(none), AllOf(HasSubstr("neither a bias nor a batch norm"), HasSubstr("layer1.0.conv1")));
}

TEST(ImportRefuses, PreActivation) {
  Tensors tensors("cifar_b");
  for (const char* part : {"weight", "bias", "running_mean", "running_var"})
    tensors.add(std::string("layer2.0.bn1.") + part, {3}, 1);
  EXPECT_THAT(refusal(tensors), AllOf(HasSubstr("pre-activation"), HasSubstr("layer2.0.bn1"), HasSubstr("layer2.0.conv1")));
  Tensors last("cifar_b");
  for (const char* part : {"weight", "bias", "running_mean", "running_var"}) last.add(std::string("bn.") + part, {6}, 1);
  EXPECT_THAT(refusal(last), AllOf(HasSubstr("\"bn\""), HasSubstr("pre-activation")));
}

TEST(ImportRefuses, HeadsOfSeveralLayers) {
  Tensors tensors("cifar_b");
  tensors.replace("linear.", "fc.0.");
  tensors.add("fc.3.weight", {7, 5});
  tensors.add("fc.3.bias", {7});
  EXPECT_THAT(refusal(tensors), AllOf(HasSubstr("two layers"), HasSubstr("fc.0"), HasSubstr("fc.3")));
  const Folder folder;
  WeightsOptions options = options_for(12);
  options.head = "none";
  const Import features = import_weights(tensors.file(folder), options, host_resource());
  EXPECT_EQ(features.model.graph.node(features.model.graph.output()).shape.channels, 6);
}

TEST(ImportRefuses, HeadsOfSeveralLayersUnlessTheyAreLeftOut) {
  const Folder folder;
  Tensors projector("cifar_b");
  projector.replace("linear.", "g.0.");
  for (const char* part : {"weight", "bias", "running_mean", "running_var"}) projector.add(std::string("g.1.") + part, {5}, 1);
  projector.add("g.3.weight", {7, 5});
  EXPECT_THAT(refusal(projector), HasSubstr("two layers"));
  WeightsOptions options = options_for(12);
  options.head = "none";
  const Import features = import_weights(projector.file(folder), options, host_resource());
  EXPECT_EQ(features.model.graph.node(features.model.graph.output()).shape.channels, 6);
  EXPECT_THAT(features.notes, Contains(AllOf(HasSubstr("ignored"), HasSubstr("g.1"), HasSubstr("g.3"))));
}

TEST(ImportRefuses, UnclearHeads) {
  Tensors two("cifar_b");
  two.add("classifier.weight", {4, 6});
  EXPECT_THAT(refusal(two), AllOf(HasSubstr("several layers"), HasSubstr("classifier"), HasSubstr("linear")));
  const Folder folder;
  WeightsOptions options = options_for(12);
  options.head = "classifier";
  EXPECT_EQ(import_weights(two.file(folder), options, host_resource())
                .model.graph.node(import_weights(two.file(folder), options, host_resource()).model.graph.output())
                .shape.channels,
            4);
  Tensors flat("cifar_b");
  flat.arrays.at("linear.weight") = {};
  flat.add("linear.weight", {5, 54});
  EXPECT_THAT(refusal(flat), AllOf(HasSubstr("6 features"), HasSubstr("[5, 54]")));
}

TEST(ImportRefuses, WhatHasNoPlaceInABlock) {
  Tensors prelu("cifar_b");
  prelu.add("layer1.0.prelu.weight", {1});
  EXPECT_THAT(refusal(prelu), AllOf(HasSubstr("layer1.0.prelu"), HasSubstr("PReLU")));
  Tensors eca("cifar_b");
  eca.add("layer1.0.se.conv.weight", {1, 1, 3});
  EXPECT_THAT(refusal(eca), AllOf(HasSubstr("layer1.0.se.conv"), HasSubstr("ECA")));
  Tensors scale("cifar_b");
  scale.add("layer1.0.scale", {1});
  EXPECT_THAT(refusal(scale), HasSubstr("layer1.0.scale"));
}

TEST(ImportRefuses, ConvolutionsOutsideOfBlocks) {
  Tensors between("cifar_b");
  between.add("conv9.weight", {6, 6, 3, 3});
  between.add("conv9.bias", {6});
  EXPECT_THAT(refusal(between), AllOf(HasSubstr("outside of all blocks"), HasSubstr("conv9")));
  Tensors broken("cifar_b");
  broken.arrays.erase("layer2.0.conv1.weight");
  EXPECT_THAT(refusal(broken), AllOf(HasSubstr("Outside of all blocks"), HasSubstr("layer2.0.conv2")));
}

TEST(ImportRefuses, FilesWithoutANetwork) {
  Tensors none("cifar_b");
  none.arrays.clear();
  none.add("a.weight", {3, 4});
  EXPECT_THAT(refusal(none), AllOf(HasSubstr("no weights of convolutions"), HasSubstr("\"a\" [3, 4]")));
  Tensors plain("cifar_b");
  std::erase_if(plain.arrays, [](const auto& each) { return each.first.starts_with("layer"); });
  EXPECT_THAT(refusal(plain), HasSubstr("no residual blocks"));
}

TEST(ImportRefuses, WeightsInParts) {
  Tensors normed("cifar_b");
  normed.replace("layer1.0.conv1.weight", "layer1.0.conv1.weight_v");
  normed.add("layer1.0.conv1.weight_g", {3, 1, 1, 1});
  EXPECT_THAT(refusal(normed), AllOf(HasSubstr("layer1.0.conv1"), HasSubstr("weight normalisation")));
}

TEST(ImportRefuses, WhatTheCallerDoesNotExpect) {
  const auto refused = [](const std::function<void(WeightsOptions&)>& change) {
    Tensors tensors("cifar_b");
    return refusal(tensors, change);
  };
  EXPECT_THAT(refused([](WeightsOptions& o) { o.family = resnet_spec("resnet50"); }),
              AllOf(HasSubstr("expected resnet50"), HasSubstr("found cifar_resnet12"), HasSubstr("2, 2, 1 basic blocks")));
  EXPECT_THAT(message_of<UsageError>([] { (void)import_of("cifar_b", 12, [](WeightsOptions& o) {
                                            o.input = {1, 12, 12};
                                          }); }),
              HasSubstr("1 channels was asked for"));
  EXPECT_THAT(refused([](WeightsOptions& o) { o.stem = Stem::kImageNet; }), HasSubstr("7x7"));
  EXPECT_THAT(refused([](WeightsOptions& o) { o.shortcut = Shortcut::kA; }), HasSubstr("found projections"));
}

TEST(ImportRefuses, AnAveragePoolOverAnOddImage) {
  EXPECT_THAT(message_of<InputError>([] { (void)import_of("timm_resnet_d", 36); }),
              AllOf(HasSubstr("average pool"), HasSubstr("even")));
}

}  // namespace
}  // namespace elek
