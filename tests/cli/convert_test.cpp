// SPDX-License-Identifier: Apache-2.0
// elek convert writes the same bytes as the recorded files (tests/fixtures/onnx.txt). For those,
// tests/fixtures/scripts/make_onnx.py has shown that ONNX Runtime and OpenVINO compute elek's logits and that ONNX's own
// checker accepts them. Together they contain every operator.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "core/runtime.h"
#include "elek/memory.h"
#include "elek/model.h"
#include "models/model_file.h"
#include "tests/cli/command.h"
#include "tests/fixtures/generated.h"
#include "tests/golden/window_models.h"

namespace elek::test {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

std::string save_generated(const Folder& folder, const std::string& name, Graph graph, generated::Block block) {
  Model model;
  model.architecture = name;
  model.parameters = generated::parameters(name, graph, block, host_resource());
  model.graph = std::move(graph);
  model.preprocessing = generated::imagenet_preprocessing();
  model.labels = {"first", "second, with a comma"};
  model.labels.resize(static_cast<size_t>(model.graph.node(model.graph.output()).shape.elements()), "another");
  save_model(model, folder / (name + ".safetensors"));
  return folder / (name + ".safetensors");
}

/// A small network of the family, odd in size so that every padding rule matters.
Graph small_resnet(const std::string& arch, Shortcut shortcut) {
  ResNetSpec spec = resnet_spec(arch);
  spec.shortcut = shortcut;
  for (int64_t& width : spec.widths) width /= 4;
  spec.classes = 10;  // synthetic DATA has this many
  spec.input = {3, 49, 35};
  return build_resnet(spec);
}

/// Operators that no ResNet has: average pooling, biases, sums and norms of vectors, a vector read as an image.
Graph every_other_operator() {
  Graph graph;
  const ValueId input = graph.add("input", InputAttrs{{3, 17, 15}}, {});
  const ValueId conv = graph.add("conv", Conv2dAttrs{6, 3, 2, 1, 3, true}, {input});
  const ValueId pool = graph.add("pool", AvgPoolAttrs{{3, 2, 1}}, {conv});
  const ValueId chosen = graph.add("chosen", ChannelMapAttrs{{5, 0, 3}, 1}, {pool});
  const ValueId mean = graph.add("mean", GlobalAvgPoolAttrs{}, {chosen});
  const ValueId hidden = graph.add("hidden", LinearAttrs{3, false}, {mean});
  const ValueId norm = graph.add("norm", BatchNormAttrs{1e-3}, {hidden});
  const ValueId relu = graph.add("relu", ReluAttrs{}, {norm});
  const ValueId sum = graph.add("sum", AddAttrs{}, {mean, relu});
  const ValueId again = graph.add("again", Conv2dAttrs{4, 1, 1, 0, 1, true}, {relu});
  const ValueId flat = graph.add("flat", FlattenAttrs{}, {sum});
  const ValueId flat_again = graph.add("flat_again", FlattenAttrs{}, {again});
  const ValueId left = graph.add("left", LinearAttrs{4, true}, {flat});
  (void)graph.add("out", AddAttrs{}, {left, flat_again});
  return graph;
}

/// Name to hash and bytes, from the fixture.
std::map<std::string, std::string> checked() {
  std::ifstream file(std::string(ELEK_TEST_DATA) + "/onnx.txt");
  std::map<std::string, std::string> lines;
  for (std::string name, rest; file >> name && std::getline(file, rest);) lines[name] = rest.substr(1);
  return lines;
}

void expect_as_checked(const std::string& model, const std::string& name, const std::vector<std::string>& more = {}) {
  const Folder folder;
  const std::string onnx = folder / (name + ".onnx");
  std::vector<std::string> words{"convert", "--model", model, "--out", onnx, "--json"};
  words.insert(words.end(), more.begin(), more.end());
  const Outcome outcome = elek_command(words);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const std::string bytes = read_text(onnx);
  EXPECT_EQ(outcome.json().at("file_bytes"), bytes.size());
  if (const char* keep = std::getenv("ELEK_KEEP_ONNX"); keep != nullptr) {  // for make_onnx.py
    std::filesystem::copy_file(model, std::string(keep) + "/" + name + ".safetensors");
    std::filesystem::copy_file(onnx, std::string(keep) + "/" + name + ".onnx");
  }
  EXPECT_EQ(checked()[name], to_hex(hash_bytes(bytes.data(), bytes.size())) + " " + std::to_string(bytes.size()))
      << name << ".onnx is not the file that other runtimes were shown: run tests/fixtures/scripts/make_onnx.py";
}

TEST(Convert, TheShippedNetwork) {
  const Folder folder;
  const std::string model = shipped_model(folder);
  expect_as_checked(model, "shipped");
  expect_as_checked(model, "shipped-batch-3", {"--batch", "3"});
}

TEST(Convert, BottlenecksGroupsAndBothShortcuts) {
  const Folder folder;
  for (const auto& [name, arch, shortcut] : {std::tuple{"bottleneck", "resnet50", Shortcut::kB},
                                             {"groups", "resnext50_32x4d", Shortcut::kB},
                                             {"option-a", "cifar_resnet20", Shortcut::kA}}) {
    const auto block = shortcut == Shortcut::kB ? generated::Block::kBottleneck : generated::Block::kBasic;
    expect_as_checked(save_generated(folder, name, small_resnet(arch, shortcut), block), name);
  }
}

TEST(Convert, EveryOtherOperator) {
  const Folder folder;
  expect_as_checked(save_generated(folder, "others", every_other_operator(), generated::Block::kBasic), "others");
}

TEST(Convert, EveryWindowAndConcatenations) {
  const Folder folder;
  for (const auto& [name, graph] :
       {std::pair{"windows", windows_model().graph}, {"pools", pools_model().graph}, {"concat", concat_model().graph}}) {
    expect_as_checked(save_generated(folder, name, graph, generated::Block::kBasic), name);
  }
}

TEST(Convert, ACutNetwork) {
  const Folder folder;
  const std::string dense =
      save_generated(folder, "dense", small_resnet("cifar_resnet20", Shortcut::kA), generated::Block::kBasic);
  const std::string cut = folder / "cut.safetensors";
  const Outcome outcome =
      elek_command({"coverage", "--model", dense, "--metric", "magnitude", "--channels", "0.4", "--round-to", "1", "--repair",
                    "none", "--calibrate", "synthetic:2:1", "--evaluate", "synthetic:2:2", "--out", cut});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  expect_as_checked(cut, "cut");
}

TEST(Convert, SaysWhatTheFileExpects) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const Outcome any = elek_command({"convert", "--model", model, "--out", folder / "a.onnx"});
  EXPECT_EQ(any.exit_code, 0) << any.err;
  EXPECT_THAT(any.out, AllOf(HasSubstr("input 'input': 3x16x16 f32, any number per run"),
                             HasSubstr("mean 0.4850 0.4560 0.4060"), HasSubstr("output 'fc': 10 values")));
  const Outcome one = elek_command({"convert", "--model", model, "--out", folder / "b.onnx", "--batch", "1"});
  EXPECT_THAT(one.out, HasSubstr("1 per run"));
  EXPECT_NE(read_text(folder / "a.onnx"), read_text(folder / "b.onnx"));
}

/// The number of the operator set that an ONNX file names: field 8 of the model holds a message with field 2.
int operator_set_of(const std::string& file) {
  for (size_t at = 0; at + 3 < file.size(); ++at) {
    if (file[at] == 0x42 && file[at + 1] == 2 && file[at + 2] == 0x10) return file[at + 3];
  }
  return -1;
}

// That the files compute the same in every set: OnnxRoundTrip, and scripts/onnx-peers by hand.
TEST(Convert, WritesTheOperatorSetThatIsAskedFor) {
  const Folder folder;
  const std::string model = tiny_model(folder), out = folder / "a.onnx";
  for (const int set : {11, 13, 17, 28}) {
    const Outcome outcome = elek_command({"convert", "--model", model, "--out", out, "--opset", std::to_string(set), "--json"});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(outcome.json().at("operator_set"), set);
    EXPECT_EQ(operator_set_of(read_text(out)), set);
  }
  for (const char* set : {"10", "29", "newest"}) {
    const Outcome outcome = elek_command({"convert", "--model", model, "--out", out, "--opset", set});
    EXPECT_EQ(outcome.exit_code, 2);
    EXPECT_THAT(outcome.err, HasSubstr("--opset"));
  }
}

/// That C compilers read the header, and that a session fits the block: tests/api. Here: the options reach it.
TEST(Convert, WritesACHeaderForOneSession) {
  const Folder folder;
  const std::string model = tiny_model(folder), out = folder / "net.h";
  const Outcome one = elek_command({"convert", "--model", model, "--out", out, "--json"});
  ASSERT_EQ(one.exit_code, 0) << one.err;
  EXPECT_EQ(one.json().at("batch"), 1);
  EXPECT_EQ(one.json().at("threads"), 1);
  const auto block = one.json().at("block_bytes").get<int64_t>();
  EXPECT_THAT(read_text(out), AllOf(HasSubstr("#define NET_BLOCK_BYTES " + std::to_string(block) + " "),
                                    HasSubstr("options.threads = 1;"), HasSubstr("#define NET_CHANNELS 3 ")));
  const Outcome four =
      elek_command({"convert", "--model", model, "--out", out, "--batch", "4", "--threads", "2", "--deterministic", "--json"});
  ASSERT_EQ(four.exit_code, 0) << four.err;
  EXPECT_GT(four.json().at("block_bytes").get<int64_t>(), block);
  EXPECT_THAT(read_text(out), AllOf(HasSubstr("#define NET_BATCH 4 "), HasSubstr("options.threads = 2;"),
                                    HasSubstr("options.deterministic = 1;")));
}

TEST(Convert, RefusesWithoutLeavingAnything) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const std::vector<std::string> before = folder.files();
  EXPECT_EQ(elek_command({"convert", "--model", model, "--out", folder / "a.pb"}).exit_code, 2);
  EXPECT_EQ(elek_command({"convert", "--model", model, "--out", folder / "a.onnx", "--batch", "-1"}).exit_code, 2);
  EXPECT_EQ(elek_command({"convert", "--model", folder / "absent", "--out", folder / "a.onnx"}).exit_code, 3);
  const Outcome no_name = elek_command({"convert", "--model", model, "--out", folder / "2nd-net.h"});
  EXPECT_EQ(no_name.exit_code, 2);
  EXPECT_THAT(no_name.err, AllOf(HasSubstr("'2nd-net'"), HasSubstr("which C does not allow")));
  const Outcome on_gpu = elek_command({"convert", "--model", model, "--out", folder / "a.h", "--device", "cuda"});
  EXPECT_EQ(on_gpu.exit_code, 2);
  EXPECT_EQ(elek_command({"convert", "--model", model, "--out", folder / "a.h", "--opset", "13"}).exit_code, 2);
  How full;
  full.file_bytes_limit = 100'000;
  const Outcome outcome = elek_command({"convert", "--model", model, "--out", folder / "a.onnx"}, full);
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_THAT(outcome.err, HasSubstr("size limit"));
  EXPECT_EQ(folder.files(), before);
}

}  // namespace
}  // namespace elek::test
