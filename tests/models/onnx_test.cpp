// SPDX-License-Identifier: Apache-2.0
// Networks that cannot be an ONNX file are refused before a byte is written. The others: tests/cli/convert_test.cpp.
#include <gmock/gmock.h>

#include <memory>
#include <utility>

#include "elek/memory.h"
#include "elek/model.h"
#include "tests/models/files.h"
#include "tests/support/activation.h"

namespace elek {
namespace {

using test::Folder;
using test::message_of;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// Parameters in memory that nobody writes to, so that 2 GB of them take no physical memory.
Model with_blank_parameters(Graph graph) {
  Model model;
  model.architecture = "test";
  for (const ParameterSpec& spec : required_parameters(graph))
    model.parameters[spec.name] = std::make_shared<const Tensor>(spec.shape, DType::kF32, host_resource(), spec.name);
  model.graph = std::move(graph);
  model.preprocessing = {{0.5F}, {0.5F}};
  return model;
}

TEST(Onnx, RefusesWhatPassesProtobufsLimit) {
  const Folder folder;
  Graph graph;
  const ValueId input = graph.add("input", InputAttrs{{1, 1, 1}}, {});
  const ValueId wide = graph.add("wide", LinearAttrs{1 << 15, false}, {input});
  (void)graph.add("fc", LinearAttrs{1 << 14, false}, {wide});  // 2^31 bytes: one too many, were there nothing else
  const Model model = with_blank_parameters(std::move(graph));
  EXPECT_THAT(message_of<InputError>([&] { save_onnx(model, folder / "a.onnx", 0); }),
              AllOf(HasSubstr(folder / "a.onnx"), HasSubstr("2147"), HasSubstr("2147483647")));
  EXPECT_THAT(folder.names(), IsEmpty());
}

TEST(Onnx, RefusesValuesThatWouldHaveOneName) {
  const Folder folder;
  Graph graph;
  const ValueId input = graph.add("fc.weight", InputAttrs{{2, 1, 1}}, {});
  (void)graph.add("fc", LinearAttrs{2, false}, {input});
  const Model model = with_blank_parameters(std::move(graph));
  EXPECT_THAT(message_of<InputError>([&] { save_onnx(model, folder / "a.onnx", 0); }), HasSubstr("\"fc.weight\""));
  EXPECT_THAT(folder.names(), IsEmpty());
}

/// The names and numbers of ONNX's operators, as the format has them.
TEST(Onnx, WritesEveryActivation) {
  const Folder folder;
  Graph graph;
  ValueId x = graph.add("input", InputAttrs{{1, 2, 2}}, {});
  const ValueId input = x;
  for (const Attrs& attrs : test::other_activations()) x = graph.add("a" + std::to_string(x), attrs, {x});
  graph.add("scaled", ChannelScaleAttrs{}, {x, graph.add("mean", GlobalAvgPoolAttrs{}, {input})});
  save_onnx(with_blank_parameters(std::move(graph)), folder / "a.onnx", 0);
  const std::string file = test::read_all(folder / "a.onnx");
  for (const char* word :
       {"Clip", "a0/low", "a0/high", "LeakyRelu", "alpha", "Sigmoid", "HardSigmoid", "a5/gate", "Mul", "a6/gate", "scaled"}) {
    EXPECT_THAT(file, HasSubstr(word));
  }
  const float six = 6.0F;
  EXPECT_THAT(file, HasSubstr(std::string(reinterpret_cast<const char*>(&six), sizeof(six))));
}

}  // namespace
}  // namespace elek
