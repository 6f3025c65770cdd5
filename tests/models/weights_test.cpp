// SPDX-License-Identifier: Apache-2.0
// The weights of model files: element types, and what is refused. The files are written here from a built network's parameters,
// with changed contents. Names of other files: tests/models/import_test.cpp.
#include <gmock/gmock.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "elek/model.h"
#include "models/model_file.h"
#include "tests/models/files.h"
#include "tests/support/faulty.h"

namespace elek {
namespace {

using test::Folder;
using test::message_of;
using ::testing::AllOf;
using ::testing::HasSubstr;

ResNetSpec small_spec(Shortcut shortcut = Shortcut::kB) {
  ResNetSpec spec = resnet_spec("cifar_resnet20");
  spec.widths = {3, 6, 9};
  spec.shortcut = shortcut;
  spec.classes = 5;
  spec.input = {1, 28, 28};
  return spec;
}

/// A weights file in the making: names to shape, type and bytes.
struct Weights {
  struct Array {
    DType dtype = DType::kF32;
    std::vector<int64_t> shape;
    std::vector<std::byte> bytes;
  };
  std::map<std::string, Array> arrays;

  explicit Weights(const Graph& graph, uint64_t seed = 1) {
    for (const auto& [name, tensor] : random_parameters(graph, seed, host_resource())) {
      const auto dims = tensor->shape().dims();
      const auto* data = static_cast<const std::byte*>(tensor->data());
      arrays[name] = {DType::kF32, {dims.begin(), dims.end()}, {data, data + tensor->bytes()}};
    }
  }
  WeightsFile file(const Folder& folder) const {
    std::vector<SafetensorsEntry> entries;
    for (const auto& [name, array] : arrays) entries.push_back({name, array.dtype, array.shape, test::bytes_of(array.bytes)});
    write_safetensors(folder / "w.safetensors", entries, {});
    return WeightsFile::open(folder / "w.safetensors");
  }
};

template <typename T>
Weights::Array array_of(DType dtype, std::vector<int64_t> shape, const std::vector<T>& values) {
  const auto bytes = test::bytes_of(values);
  return {dtype, std::move(shape), {bytes.begin(), bytes.end()}};
}

void expect_equal(const Parameters& got, const Parameters& want) {
  ASSERT_EQ(got.size(), want.size());
  for (const auto& [name, tensor] : want) {
    ASSERT_TRUE(got.contains(name)) << name;
    ASSERT_EQ(got.at(name)->shape(), tensor->shape()) << name;
    EXPECT_EQ(std::memcmp(got.at(name)->data(), tensor->data(), tensor->bytes()), 0) << name;
  }
}

TEST(LoadWeights, SeveralThreadsReadEveryValueAndNameTheFirstThatDoesNotFit) {
  ResNetSpec spec = small_spec();
  spec.widths = {64, 128, 256};  // 17 MB: more than one thread's share
  const Graph graph = build_resnet(spec);
  Weights weights(graph);
  const Folder folder;
  expect_equal(load_weights(weights.file(folder), graph, host_resource()), random_parameters(graph, 1, host_resource()));
  const std::vector<double> wrong(5, 1e39);
  weights.arrays["fc.bias"] = array_of<double>(DType::kF64, {5}, wrong);
  std::vector<double> first(64, 1.0);
  first[7] = 1e39;
  weights.arrays["bn1.weight"] = array_of<double>(DType::kF64, {64}, first);
  for (int round = 0; round < 5; ++round)
    EXPECT_THAT(message_of<InputError>([&] { (void)load_weights(weights.file(folder), graph, host_resource()); }),
                AllOf(HasSubstr("bn1.weight"), HasSubstr("element 7")));
}

TEST(LoadWeights, ConvertsHalvesAndDoubles) {
  const Folder folder;
  const Graph graph = build_resnet(small_spec());
  Weights weights(graph);
  // 1, -2, the largest half, the smallest subnormal and -0 by their bits (IEEE 754 binary16).
  weights.arrays["fc.bias"] = array_of<uint16_t>(DType::kF16, {5}, {0x3c00, 0xc000, 0x7bff, 0x0001, 0x8000});
  weights.arrays["bn1.bias"] = array_of<uint16_t>(DType::kBF16, {3}, {0x3f80, 0xc020, 0x0001});
  weights.arrays["bn1.weight"] = array_of<double>(DType::kF64, {3}, {1.0, 0.1, -1e-60});
  const Parameters got = load_weights(weights.file(folder), graph, host_resource());
  const auto values = [&](const char* name) {
    const auto span = got.at(name)->f32();
    return std::vector<float>(span.begin(), span.end());
  };
  EXPECT_EQ(values("fc.bias"), (std::vector<float>{1.0F, -2.0F, 65504.0F, 0x1p-24F, 0.0F}));
  EXPECT_TRUE(std::signbit(values("fc.bias")[4]));
  EXPECT_EQ(values("bn1.bias"), (std::vector<float>{1.0F, -2.5F, std::bit_cast<float>(uint32_t{0x10000})}));
  EXPECT_EQ(values("bn1.weight"), (std::vector<float>{1.0F, 0.1F, -0.0F}));
}

TEST(LoadWeights, EveryHalfIsExact) {
  const Folder folder;
  Graph graph;  // one batch norm of 65,536 channels holds every half
  graph.add("bn", BatchNormAttrs{}, {graph.add("input", InputAttrs{{65536, 1, 1}}, {})});
  Weights weights(graph);
  std::vector<uint16_t> halves(65536);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i);
  weights.arrays["bn.bias"] = array_of(DType::kF16, {65536}, halves);
  const Parameters got = load_weights(weights.file(folder), graph, host_resource());
  const std::span<const float> values = got.at("bn.bias")->f32();
  for (size_t i = 0; i < halves.size(); ++i) {
    const int exponent = static_cast<int>((i >> 10) & 31);
    const auto fraction = static_cast<double>(i & 1023);
    const double magnitude = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
    if (exponent == 31) {
      ASSERT_TRUE(fraction > 0 ? std::isnan(values[i]) : std::isinf(values[i])) << i;
    } else {
      ASSERT_EQ(static_cast<double>(values[i]), i < 0x8000 ? magnitude : -magnitude) << i;
    }
  }
}

TEST(LoadWeights, RefusesWhatDoesNotFit) {
  const Folder folder;
  const Graph graph = build_resnet(small_spec());
  const auto refused = [&](const auto& change) {
    Weights weights(graph);
    change(weights);
    return message_of<InputError>([&] { (void)load_weights(weights.file(folder), graph, host_resource()); });
  };
  EXPECT_THAT(refused([](Weights& w) { w.arrays.erase("layer2.1.bn2.running_var"); }),
              AllOf(HasSubstr("w.safetensors"), HasSubstr("layer2.1.bn2.running_var"), HasSubstr("[6]"), HasSubstr("missing")));
  EXPECT_THAT(refused([](Weights& w) { w.arrays["layer9.conv"] = array_of<float>(DType::kF32, {1}, {0}); }),
              AllOf(HasSubstr("layer9.conv"), HasSubstr("no place")));
  EXPECT_THAT(refused([](Weights& w) {
                w.arrays["fc.bias"] = array_of<float>(DType::kF32, {1, 5}, {1, 2, 3, 4, 5});
              }),
              AllOf(HasSubstr("fc.bias"), HasSubstr("[5]"), HasSubstr("[1, 5]")));
  EXPECT_THAT(refused([](Weights& w) {
                w.arrays["fc.bias"] = array_of<int32_t>(DType::kI32, {5}, {1, 2, 3, 4, 5});
              }),
              AllOf(HasSubstr("fc.bias"), HasSubstr("I32"), HasSubstr("BF16")));
  EXPECT_THAT(refused([](Weights& w) {
                w.arrays["fc.bias"] = array_of<double>(DType::kF64, {5}, {1, 2, 1e39, 4, 5});
              }),
              AllOf(HasSubstr("fc.bias"), HasSubstr("element 2"), HasSubstr("f32")));
}

TEST(LoadWeights, EveryAllocationMayFail) {
  const Folder folder;
  const Graph graph = build_resnet(small_spec());
  const WeightsFile file = Weights(graph).file(folder);
  for (int64_t k = 0;; ++k) {
    test::Faulty memory;
    memory.fail_at(k);
    try {
      const Parameters parameters = load_weights(file, graph, memory);
      EXPECT_EQ(k, static_cast<int64_t>(parameters.size()));
      break;
    } catch (const OutOfMemory&) {
      EXPECT_EQ(memory.in_use_bytes(), 0U) << k;
    }
  }
}

}  // namespace
}  // namespace elek
