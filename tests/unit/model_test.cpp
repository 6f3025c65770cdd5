// SPDX-License-Identifier: Apache-2.0
// Model: the parameters it needs, what validate() refuses and with which message, sizes, and what the hash covers.
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <set>

#include "core/error.h"
#include "elek/graph.h"
#include "tests/support/models.h"

namespace elek {
namespace {

using test::tensor_of;
using test::tiny_resnet;

/// conv (grouped, biased) -> bn -> flatten -> fc on a 4x2x2 input.
Model small_model() {
  Model model;
  model.architecture = "small";
  Conv2dAttrs conv;
  conv.out_channels = 6;
  conv.groups = 2;
  conv.bias = true;
  ValueId x = model.graph.add("input", InputAttrs{{4, 2, 2}}, {});
  x = model.graph.add("conv", conv, {x});
  x = model.graph.add("bn", BatchNormAttrs{}, {x});
  x = model.graph.add("flatten", FlattenAttrs{}, {x});
  x = model.graph.add("fc", LinearAttrs{3, true}, {x});
  model.parameters = test::tiny_parameters(model.graph, 1);
  return model;
}

TEST(RequiredParameters, AreInGraphOrderWithTheirShapes) {
  const std::pair<const char*, Shape> want[] = {
      {"conv.weight", {6, 2, 1, 1}}, {"conv.bias", {6}},      {"bn.weight", {6}},     {"bn.bias", {6}},
      {"bn.running_mean", {6}},      {"bn.running_var", {6}}, {"fc.weight", {3, 24}}, {"fc.bias", {3}}};
  const std::vector<ParameterSpec> specs = required_parameters(small_model().graph);
  ASSERT_EQ(specs.size(), std::size(want));
  for (size_t i = 0; i < specs.size(); ++i) {
    EXPECT_EQ(specs[i].name, want[i].first);
    EXPECT_EQ(specs[i].shape, want[i].second) << specs[i].name << " " << to_string(specs[i].shape);
  }
}

TEST(Parameter, IsFoundByNameOrRefused) {
  const Model model = small_model();
  EXPECT_EQ(model.parameter("fc.bias").shape(), (Shape{3}));
  EXPECT_THROW((void)model.parameter("fc.scale"), ContractError);
}

/// validate()'s message after `change`.
std::string complaint(const std::function<void(Model&)>& change) {
  Model model = small_model();
  change(model);
  try {
    validate(model, "net.safetensors");
  } catch (const InputError& error) {
    return error.what();
  }
  return "nothing";
}

TEST(Validate, AcceptsWhatIsRight) {
  EXPECT_EQ(complaint([](Model&) {}), "nothing");
}

TEST(Validate, NamesFileTensorExpectedAndFound) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  struct Case {
    std::function<void(Model&)> change;
    std::vector<std::string> words;
  };
  const Case table[] = {
      {[](Model& m) { m.parameters.erase("bn.bias"); }, {"'bn.bias'", "[6]", "nothing"}},
      {[](Model& m) { m.parameters["bn.bias"] = nullptr; }, {"'bn.bias'", "[6]", "nothing"}},
      {[](Model& m) { m.parameters["extra.weight"] = m.parameters["fc.bias"]; }, {"'extra.weight'", "no such parameter"}},
      {[](Model& m) {
         m.parameters["fc.bias"] = tensor_of({1, 2}, {2});
       },
       {"'fc.bias'", "[3]", "[2]"}},
      {[](Model& m) {
         m.parameters["fc.bias"] = tensor_of({1, 2, 3}, {3, 1});
       },
       {"[3]", "[3, 1]"}},
      {[](Model& m) { m.parameters["fc.bias"] = std::make_shared<Tensor>(Shape{3}, DType::kI32, host_resource(), "ints"); },
       {"'fc.bias'", "F32", "I32"}},
      {[=](Model& m) {
         m.parameters["fc.bias"] = tensor_of({1, nan, 3}, {3});
       },
       {"'fc.bias'", "nan", "element 1"}},
      {[=](Model& m) {
         m.parameters["fc.bias"] = tensor_of({1, 2, -inf}, {3});
       },
       {"-inf", "element 2"}},
      {[](Model& m) {
         m.parameters["bn.running_var"] = tensor_of({1, 1, 1, 1, -0.5F, 1}, {6});
       },
       {"'bn.running_var'", ">= 0", "-0.5", "element 4"}},
  };
  for (const Case& each : table) {
    const std::string text = complaint(each.change);
    EXPECT_EQ(text.find("net.safetensors: "), 0U) << text;
    for (const std::string& word : each.words) {
      EXPECT_NE(text.find(word), std::string::npos) << "'" << word << "' not in: " << text;
    }
  }
}

TEST(Validate, NamesTheFirstValueThatIsNotFiniteWhereverItIs) {
  const float inf = std::numeric_limits<float>::infinity();
  for (size_t at = 0; at < 72; ++at) {
    std::vector<float> values(72, std::numeric_limits<float>::max());
    EXPECT_EQ(complaint([&](Model& m) { m.parameters["fc.weight"] = tensor_of(values, {3, 24}); }), "nothing");
    for (size_t i = at; i < 72; i += 5) values[i] = inf;
    const std::string text = complaint([&](Model& m) { m.parameters["fc.weight"] = tensor_of(values, {3, 24}); });
    EXPECT_NE(text.find("found inf at element " + std::to_string(at) + ";"), std::string::npos) << text;
  }
}

TEST(Validate, AVarianceOfZeroAndANegativeMeanAreRight) {
  EXPECT_EQ(complaint([](Model& m) {
              m.parameters["bn.running_var"] = tensor_of({0, 0, 0, 0, 0, 0}, {6});
              m.parameters["bn.running_mean"] = tensor_of({-1, -1, -1, -1, -1, -1}, {6});
            }),
            "nothing");
}

TEST(Sizes, CountLearnedParametersZerosAndBytes) {
  Model model = small_model();
  EXPECT_EQ(parameter_count(model), 12 + 6 + 6 + 6 + 72 + 3) << "without running statistics";
  EXPECT_EQ(parameter_bytes(model), (12U + 6 + 4 * 6 + 72 + 3) * 4);
  model.parameters["fc.bias"] = tensor_of({0, 1, -0.0F}, {3});
  model.parameters["bn.running_mean"] = tensor_of({0, 0, 0, 0, 0, 0}, {6});
  EXPECT_EQ(nonzero_parameter_count(model), 12 + 6 + 6 + 6 + 72 + 1);
}

TEST(Hash, SeesEveryPartOfGraphAndParameters) {
  const auto hash_after = [](const std::function<void(Model&)>& change) {
    Model model = small_model();
    change(model);
    return hash(model);
  };
  const uint64_t base = hash_after([](Model&) {});
  std::set<uint64_t> seen = {base};
  const std::vector<std::function<void(Model&)>> changes = {
      [](Model& m) {
        m.parameters["fc.bias"] = tensor_of({0, 1, 2}, {3});
      },
      [](Model& m) {
        m.parameters["fc.bias"] = tensor_of({0, 2, 1}, {3});
      },
      [](Model& m) { m.parameters.erase("fc.bias"); },
      [](Model& m) { m.graph.set_output(2); },
      [](Model& m) { m.graph.add("relu", ReluAttrs{}, {4}); },
      [](Model& m) { m.graph.add("relu2", ReluAttrs{}, {4}); },
      [](Model& m) { m.graph.add("relu", ReluAttrs{}, {3}); },
      [](Model& m) {
        m.graph.add("map", ChannelMapAttrs{{0, 1}, 1}, {1});
      },
      [](Model& m) {
        m.graph.add("map", ChannelMapAttrs{{1, 0}, 1}, {1});
      },
      [](Model& m) {
        m.graph.add("map", ChannelMapAttrs{{1, 0}, 2}, {1});
      },
      [](Model& m) { m.graph.add("bn2", BatchNormAttrs{1e-5}, {1}); },
      [](Model& m) { m.graph.add("bn2", BatchNormAttrs{1e-3}, {1}); },
      [](Model& m) {
        m.graph.add("pool", MaxPoolAttrs{{2, 1, 0}}, {1});
      },
      [](Model& m) {
        m.graph.add("pool", MaxPoolAttrs{{2, 1, 1}}, {1});
      },
      [](Model& m) {
        m.graph.add("pool", AvgPoolAttrs{{2, 1, 1}}, {1});
      },
      [](Model& m) {
        m.graph.add("fc2", LinearAttrs{2, true}, {4});
      },
      [](Model& m) {
        m.graph.add("fc2", LinearAttrs{2, false}, {4});
      },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    EXPECT_TRUE(seen.insert(hash_after(changes[i])).second) << "change " << i << " is not seen";
  }
}

TEST(Hash, SeesNothingElse) {
  const Model model = small_model();
  Model other = model;
  other.architecture = "another name";
  other.labels = {"a", "b", "c"};
  other.preprocessing.mean = {0.5F};
  other.history.push_back({});
  EXPECT_EQ(hash(other), hash(model));
}

TEST(Hash, IsTheSameOnEveryMachine) {
  // FNV-1a over the fields as hash() lists them, worked out by a script of another language. It changes only if the
  // definition of the hash does, which would orphan every statistics file.
  Model model;
  model.graph.add("input", InputAttrs{{2, 1, 1}}, {});
  model.graph.add("fc", LinearAttrs{1, false}, {0});
  model.parameters["fc.weight"] = tensor_of({1, -2}, {1, 2});
  EXPECT_EQ(hash(model), 0x296f44401206e88aULL);
}

TEST(Model, CopiesShareTheirParameters) {
  const Model model = tiny_resnet();
  const Model copy = model;
  EXPECT_EQ(copy.parameter("fc.weight").data(), model.parameter("fc.weight").data());
}

}  // namespace
}  // namespace elek
