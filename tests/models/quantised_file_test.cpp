// SPDX-License-Identifier: Apache-2.0
// Files of quantised models: the same model comes back, weights take one byte each, and damaged files are refused by name.
// Files are damaged in two ways: another JSON, or other tensors.
#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <memory>

#include "core/file.h"
#include "core/runtime.h"
#include "elek/model.h"
#include "models/model_file.h"
#include "models/safetensors.h"
#include "tests/models/files.h"
#include "tests/support/models.h"

namespace elek {
namespace {

using test::Folder;
using test::message_of;
using ::testing::AllOf;
using ::testing::HasSubstr;

/// Two quantised convolutions, one with and one without sign.
Model quantised() {
  Model model;
  Graph& g = model.graph;
  const ValueId input = g.add("input", InputAttrs{{3, 8, 8}}, {});
  const Conv2dAttrs conv{.out_channels = 5, .kernel = 3, .stride = 1, .padding = 1, .groups = 1, .bias = true};
  const ValueId relu = g.add("relu", ReluAttrs{}, {g.add("first", conv, {input})});
  const ValueId last = g.add("second", conv, {relu});
  g.set_output(g.add("fc", LinearAttrs{.out_features = 2, .bias = true}, {g.add("mean", GlobalAvgPoolAttrs{}, {last})}));
  model.architecture = "small";
  model.parameters = test::tiny_parameters(g, 1);
  model.preprocessing = {{0, 0, 0}, {1, 1, 1}};
  for (const char* layer : {"first", "second"}) {
    const std::string name = std::string(layer) + ".weight";
    Tensor weight = model.parameter(name).clone(host_resource(), "test");
    std::vector<float> scales;
    for (int k = 0; k < 5; ++k) scales.push_back(0.011F * static_cast<float>(k + 3));
    const size_t row = weight.f32().size() / 5;
    for (size_t i = 0; i < weight.f32().size(); ++i) {
      weight.f32()[i] = (std::nearbyint(weight.f32()[i] / scales[i / row]) + 0.0F) * scales[i / row];
    }
    model.parameters[name] = std::make_shared<const Tensor>(std::move(weight));
    model.quantization.layers[layer] = scales;
  }
  model.quantization.values = {{"input", {0.0123456789F, true}}, {"relu", {0.031F, false}}};
  return model;
}

TEST(QuantisedFile, TheSameModelComesBack) {
  const Folder folder;
  const std::string path = folder / "q.safetensors";
  const Model model = quantised();
  save_model(model, path);
  const Model back = load_model(path, host_resource());
  EXPECT_EQ(hash(back), hash(model));
  EXPECT_EQ(back.quantization, model.quantization);
  const SafetensorsFile file = SafetensorsFile::open(path);
  for (const auto& [name, entry] : file.entries()) {
    const bool integers = name == "first.weight" || name == "second.weight";
    EXPECT_EQ(entry.dtype, integers ? "I8" : "F32") << name;
  }
}

/// Writes the model with another JSON and other tensors than save_model would.
std::string damaged(const Folder& folder, const std::function<void(std::string& json)>& change_json,
                    const std::function<void(std::vector<SafetensorsEntry>&)>& change) {
  const std::string whole = folder / "whole.safetensors", path = folder / "damaged.safetensors";
  save_model(quantised(), whole);
  const SafetensorsFile file = SafetensorsFile::open(whole);
  std::string json = file.metadata().at("elek");
  change_json(json);
  std::vector<SafetensorsEntry> entries;
  for (const auto& [name, tensor] : file.entries()) {
    entries.push_back({name, tensor.dtype == "I8" ? DType::kI8 : DType::kF32, tensor.shape, tensor.bytes});
  }
  change(entries);
  write_safetensors(path, entries, {{"elek", json}});
  return message_of<InputError>([&] { (void)load_model(path, host_resource()); });
}

SafetensorsEntry& named(std::vector<SafetensorsEntry>& entries, const std::string& name) {
  return *std::find_if(entries.begin(), entries.end(), [&](const auto& each) { return each.name == name; });
}

TEST(QuantisedFile, DamageIsNamed) {
  const Folder folder;
  const auto nothing = [](std::string&) {};
  const auto none = [](std::vector<SafetensorsEntry>&) {};
  const auto replace = [](const std::string& from, const std::string& to) {
    return [=](std::string& json) {
      const size_t at = json.find(from);
      ASSERT_NE(at, std::string::npos) << json;
      json.replace(at, from.size(), to);
    };
  };
  EXPECT_THAT(damaged(folder, nothing, [](auto& e) { e.erase(e.begin() + (&named(e, "first.weight_scale") - e.data())); }),
              AllOf(HasSubstr("first.weight_scale"), HasSubstr("nothing")));
  const std::vector<float> fewer(4, 1.0F), zeros(5, 0.0F), floats(5 * 27, 0.5F);
  EXPECT_THAT(
      damaged(folder, nothing,
              [&](auto& e) {
                named(e, "first.weight_scale") = {"first.weight_scale", DType::kF32, {4}, std::as_bytes(std::span(fewer))};
              }),
      AllOf(HasSubstr("first.weight_scale"), HasSubstr("5")));
  EXPECT_THAT(
      damaged(folder, nothing,
              [&](auto& e) {
                named(e, "first.weight_scale") = {"first.weight_scale", DType::kF32, {5}, std::as_bytes(std::span(zeros))};
              }),
      AllOf(HasSubstr("'first'"), HasSubstr("positive")));
  EXPECT_THAT(
      damaged(folder, nothing,
              [&](auto& e) {
                named(e, "first.weight") = {"first.weight", DType::kF32, {5, 3, 3, 3}, std::as_bytes(std::span(floats))};
              }),
      AllOf(HasSubstr("first.weight"), HasSubstr("I8")));
  EXPECT_THAT(damaged(folder, replace("\"layers\":[\"first\",\"second\"]", "\"layers\":[\"first\"]"), none),
              HasSubstr("second.weight"));
  EXPECT_THAT(damaged(folder, replace("\"layers\":[\"first\"", "\"layers\":[\"third\""), none), HasSubstr("third"));
  EXPECT_THAT(damaged(folder, replace("{\"name\":\"relu\",\"scale\"", "{\"name\":\"gone\",\"scale\""), none),
              HasSubstr("gone"));
  EXPECT_THAT(damaged(folder, replace("\"signed\":true", "\"signed\":1"), none), HasSubstr("signed"));
  EXPECT_THAT(damaged(folder, replace("\"signed\":true", "\"signed\":true,\"more\":1"), none), HasSubstr("more"));
}

TEST(QuantisedFile, OnnxHasScalesPerChannelFromOperatorSet13On) {
  const Folder folder;
  const std::string path = folder / "q.onnx";
  EXPECT_THROW(save_onnx(quantised(), path, 1, 12), UsageError);
  EXPECT_FALSE(std::filesystem::exists(path));
  save_onnx(quantised(), path, 1, 13);
  const std::string bytes = test::read_all(path);
  const auto count = [&](const std::string& word) {
    size_t found = 0;
    for (size_t at = bytes.find(word); at != std::string::npos; at = bytes.find(word, at + 1)) ++found;
    return found;
  };
  // One pair for each value that is read, and one DequantizeLinear for each weight and each bias.
  EXPECT_EQ(count("DequantizeLinear"), 2 + 4);
  EXPECT_EQ(count("QuantizeLinear"), 2);
}

}  // namespace
}  // namespace elek
