// SPDX-License-Identifier: Apache-2.0
// Model files: a saved model loads with the same bytes, and JSON that is wrong in any one field is refused with that field's
// name. The wrong documents are made by replacing one piece of a correct one's text.
#include "models/model_file.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <set>

#include "core/hint.h"
#include "core/runtime.h"
#include "elek/model.h"
#include "tests/models/files.h"
#include "tests/support/activation.h"

namespace elek {
namespace {

using test::Folder;
using test::message_of;
using test::read_all;
using ::testing::AllOf;
using ::testing::HasSubstr;

/// A model with every operator, odd sizes, and a history with all possible fields.
Model every_operator() {
  Model model;
  Graph& g = model.graph;
  const ValueId input = g.add("input", InputAttrs{{3, 9, 8}}, {});
  const ValueId conv = g.add("conv", Conv2dAttrs{6, 3, 2, 1, 3, true}, {input});
  const ValueId bn = g.add("bn", BatchNormAttrs{1.1e-3}, {conv});
  const ValueId relu = g.add("relu", ReluAttrs{}, {bn});
  const ValueId map = g.add("map", ChannelMapAttrs{{-1, 2, 0, 1, -1, -1}, 2}, {input});
  const ValueId sum = g.add("sum", AddAttrs{}, {relu, map});
  const ValueId max = g.add("max", MaxPoolAttrs{{3, 2, 1}}, {sum});
  const ValueId average = g.add("average", AvgPoolAttrs{{2, 1, 0}}, {max});
  const ValueId global = g.add("global", GlobalAvgPoolAttrs{}, {average});
  const ValueId flat = g.add("flat", FlattenAttrs{}, {global});
  const ValueId fc = g.add("fc", LinearAttrs{2, false}, {flat});
  g.add("unused", ReluAttrs{}, {sum});
  g.set_output(fc);
  model.architecture = "every \"operator\"";
  model.parameters = random_parameters(g, 3, host_resource());
  model.preprocessing = {{0.1F, 0.2F, 0.485F}, {0.3F, 1.0F, 1e-3F}};
  model.labels = {"caf\xc3\xa9", "line\nbreak"};
  HistoryEntry cut{.action = "prune channels",
                   .criterion = "std-consumer",
                   .target = "channels=0.3 scope=layer",
                   .repair = "bn",
                   .source_hash = "00ff",
                   .replayed = "ab",
                   .calibration = "images:/a b/[0:10]",
                   .calibration_samples = 1000,
                   .tap = "conv",
                   .kernels = "direct",
                   .repair_data = "images:/c",
                   .repair_samples = 77,
                   .seed = std::numeric_limits<uint64_t>::max(),
                   .version = "0.1.0",
                   .evaluation = Evaluation{"idx:/d:test", "beef", 33, 0.9, 0.1, 1.0 / 3},
                   .cuts = {},
                   .assumptions = {}};
  cut.cuts.push_back({"conv",
                      8,
                      {0, 2, 3, 4, 5, 7},
                      2,
                      {0.1, 1e-300, 3.0, std::numeric_limits<double>::quiet_NaN(), 1.0 / 3.0,
                       std::numeric_limits<double>::infinity(), -0.0, -5e15}});
  cut.cuts.push_back({"fc", 12, {}, 5, {}});
  HistoryEntry repair;
  repair.action = "repair";
  repair.repair = "refit";
  model.history = {cut, repair};
  return model;
}

TEST(ModelFile, SaveLoadSaveIsTheSameToTheByte) {
  const Folder folder;
  const Model model = every_operator();
  save_model(model, folder / "a");
  const Model loaded = load_model(folder / "a", host_resource());
  save_model(loaded, folder / "b");
  EXPECT_EQ(read_all(folder / "a"), read_all(folder / "b"));
  EXPECT_EQ(hash(model), hash(loaded));
  EXPECT_EQ(loaded.architecture, model.architecture);
  EXPECT_EQ(loaded.labels, model.labels);
  EXPECT_EQ(loaded.preprocessing.mean, model.preprocessing.mean);
  EXPECT_EQ(loaded.preprocessing.stddev, model.preprocessing.stddev);
  EXPECT_EQ(loaded.graph.output(), model.graph.output());
  for (size_t i = 0; i < model.graph.nodes().size(); ++i) {
    EXPECT_EQ(loaded.graph.nodes()[i].name, model.graph.nodes()[i].name);
    EXPECT_EQ(loaded.graph.nodes()[i].shape, model.graph.nodes()[i].shape);
  }
  EXPECT_EQ(folder.names().size(), 2U);
}

TEST(ModelFile, HistoryComesBackWithItsCuts) {
  const Model model = every_operator();
  const Model read = model_from_json(model_to_json(model), "json");
  ASSERT_EQ(read.history.size(), 2U);
  const HistoryEntry& want = model.history[0];
  const HistoryEntry& got = read.history[0];
  EXPECT_EQ(got.action, want.action);
  EXPECT_EQ(got.criterion, want.criterion);
  EXPECT_EQ(got.target, want.target);
  EXPECT_EQ(got.repair, want.repair);
  EXPECT_EQ(got.source_hash, want.source_hash);
  EXPECT_EQ(got.calibration, want.calibration);
  EXPECT_EQ(got.replayed, want.replayed);
  EXPECT_EQ(got.calibration_samples, want.calibration_samples);
  EXPECT_EQ(got.tap, want.tap);
  EXPECT_EQ(got.kernels, want.kernels);
  EXPECT_EQ(got.repair_data, want.repair_data);
  EXPECT_EQ(got.repair_samples, want.repair_samples);
  EXPECT_EQ(got.seed, want.seed);
  EXPECT_EQ(got.version, want.version);
  ASSERT_EQ(got.cuts.size(), 2U);
  EXPECT_EQ(got.cuts[0].name, "conv");
  EXPECT_EQ(got.cuts[0].before, 8);
  EXPECT_EQ(got.cuts[0].removed, 2);
  EXPECT_EQ(got.cuts[0].kept, want.cuts[0].kept);
  ASSERT_EQ(got.cuts[0].scores.size(), 8U);
  for (size_t i = 0; i < 8; ++i) {
    const double score = want.cuts[0].scores[i];
    EXPECT_TRUE(std::isnan(score) ? std::isnan(got.cuts[0].scores[i]) : got.cuts[0].scores[i] == score) << i;
  }
  EXPECT_TRUE(got.cuts[1].scores.empty());
  EXPECT_EQ(read.history[1].repair, "refit");
  ASSERT_TRUE(got.evaluation);
  EXPECT_EQ(got.evaluation->data, "idx:/d:test");
  EXPECT_EQ(got.evaluation->hash, "beef");
  EXPECT_EQ(got.evaluation->samples, 33);
  EXPECT_EQ(got.evaluation->dense, 0.9);
  EXPECT_EQ(got.evaluation->pruned, 0.1);
  EXPECT_EQ(got.evaluation->repaired, 1.0 / 3);
  EXPECT_EQ(got.evaluation->saved(), 1.0 / 3);
  EXPECT_FALSE(read.history[1].evaluation);
  EXPECT_EQ((Evaluation{"", "", 1, 0.5, 0.25, {}}.saved()), 0.25);
  EXPECT_EQ((Evaluation{"", "", 1, 0.5, {}, {}}.saved()), 0.5);
}

TEST(ModelFile, HistoriesOfTheFirstFilesAreRead) {
  std::string json = model_to_json(every_operator());
  for (const auto& [from, to] : {std::pair{"\"replayed\":", "\"calibration\":"}, {"\"tap\":", "\"seed\":"}}) {
    for (size_t at = json.find(from); at != std::string::npos; at = json.find(from)) json.erase(at, json.find(to, at) - at);
  }
  const Model read = model_from_json(json, "json");
  EXPECT_EQ(read.history[0].calibration_samples, 1000);
  EXPECT_EQ(read.history[0].tap, "");
  EXPECT_EQ(read.history[0].repair_samples, 0);
}

/// The values were printed by the commit before operators became structs (4ae9407). Files and recorded hashes outlive versions.
TEST(ModelFile, FormatAndHashAreThoseOfTheFirstFiles) {
  Model model = every_operator();
  const std::string json = model_to_json(model);
  EXPECT_EQ(to_hex(hash_bytes(json.data(), json.size(), kHashSeed)), "690f5d511bd6c853") << json;
  model.parameters.clear();  // random numbers come from the machine's mathematical functions
  EXPECT_EQ(to_hex(hash(model)), "f74c60da6cd7b3a5");
  Model read = model_from_json(json, "json");
  EXPECT_EQ(to_hex(hash(read)), "f74c60da6cd7b3a5");
}

/// Windows are numbers where that says all, else lists; what has its old value is not written.
TEST(ModelFile, WindowsAndConcatenationsSurvive) {
  Model model = every_operator();
  Graph g;
  const ValueId input = g.add("input", InputAttrs{{3, 19, 18}}, {});
  const Conv2dAttrs uneven{6, {1, 7}, {2, 1}, {0, 1, 2, 3}, 3, true, {1, 2}};
  const ValueId conv = g.add("conv", uneven, {input});
  const ValueId square = g.add("square", Conv2dAttrs{.out_channels = 4, .kernel = 3, .padding = 2, .dilation = 2}, {conv});
  const ValueId max = g.add("max", MaxPoolAttrs{{{3, 2}, 1, {1, 0, 1, 0}, true}}, {square});
  const ValueId average = g.add("average", AvgPoolAttrs{{3, 2, 1, true}, false}, {max});
  g.set_output(g.add("joined", ConcatAttrs{}, {average, average, average}));
  model.graph = g;
  model.labels.clear();
  const std::string json = model_to_json(model);
  EXPECT_THAT(json, HasSubstr(R"("kernel":[1,7],"stride":[2,1],"padding":[0,1,2,3],"groups":3,"bias":true,"dilation":[1,2]})"));
  EXPECT_THAT(json, HasSubstr(R"("kernel":3,"stride":1,"padding":2,"groups":1,"bias":false,"dilation":2})"));
  EXPECT_THAT(json, HasSubstr(R"("kernel":3,"stride":2,"padding":1,"ceil_mode":true,"count_include_pad":false})"));
  EXPECT_THAT(json, HasSubstr(R"({"name":"joined","op":"concat","inputs":["average","average","average"]})"));
  const Model read = model_from_json(json, "json");
  for (size_t i = 0; i < g.nodes().size(); ++i) EXPECT_EQ(read.graph.nodes()[i].attrs, g.nodes()[i].attrs);
  EXPECT_EQ(model_to_json(read), json);
}

/// Each attribute of a window changes the hash, and no two of these networks have one hash.
TEST(ModelFile, EveryWindowHasItsOwnHash) {
  std::set<uint64_t> hashes;
  const std::vector<Attrs> all = {Conv2dAttrs{4, 3, 1, 1},
                                  Conv2dAttrs{4, {3, 1}, 1, 1},
                                  Conv2dAttrs{4, {1, 3}, 1, 1},
                                  Conv2dAttrs{4, 3, {1, 2}, 1},
                                  Conv2dAttrs{4, 3, 1, {1, 1, 1, 0}},
                                  Conv2dAttrs{4, 3, 1, {0, 1, 1, 1}},
                                  Conv2dAttrs{4, 3, 1, 1, 1, false, 2},
                                  Conv2dAttrs{4, 3, 1, 1, 1, false, {1, 2}},
                                  MaxPoolAttrs{{3, 2, 1}},
                                  MaxPoolAttrs{{3, 2, 1, true}},
                                  AvgPoolAttrs{{3, 2, 1}},
                                  AvgPoolAttrs{{3, 2, 1, true}},
                                  AvgPoolAttrs{{3, 2, 1}, false},
                                  AvgPoolAttrs{{3, 2, 1, true}, false}};
  for (const Attrs& attrs : all) {
    Model model;
    model.graph.add("node", attrs, {model.graph.add("input", InputAttrs{{4, 9, 9}}, {})});
    EXPECT_TRUE(hashes.insert(hash(model)).second) << op_name(attrs) << " " << hashes.size();
  }
}

TEST(ModelFile, ActivationsSurviveWithTheirAttributes) {
  Model model = every_operator();
  Graph graph;
  ValueId x = graph.add("input", InputAttrs{{3, 4, 4}}, {});
  for (const Attrs& attrs : test::other_activations()) {
    x = graph.add(std::string(op_name(attrs)) + std::to_string(x), attrs, {x});
  }
  model.graph = graph;
  model.labels.clear();
  const std::string json = model_to_json(model);
  EXPECT_THAT(json, HasSubstr(R"("op":"clip","inputs":["input"],"low":0.0,"high":6.0)"));
  EXPECT_THAT(json, HasSubstr(R"("slope":0.125)"));
  const Model read = model_from_json(json, "json");
  ASSERT_EQ(read.graph.nodes().size(), graph.nodes().size());
  for (size_t i = 0; i < graph.nodes().size(); ++i) EXPECT_EQ(read.graph.nodes()[i].attrs, graph.nodes()[i].attrs);
}

TEST(ModelFile, APrunedNetworkOfManyLayersSurvives) {
  const Folder folder;
  ResNetSpec spec = resnet_spec("cifar_resnet56");
  spec.widths = {5, 11, 23};
  Model model{"cifar_resnet56", build_resnet(spec), {}, default_preprocessing(3), {}, {}};
  model.parameters = random_parameters(model.graph, 5, host_resource());
  save_model(model, folder / "a");
  EXPECT_EQ(hash(load_model(folder / "a", host_resource())), hash(model));
  const SafetensorsFile file = SafetensorsFile::open(folder / "a");
  EXPECT_EQ(file.at("layer2.0.conv1.weight").shape, (std::vector<int64_t>{11, 5, 3, 3}));  // Python reads it by this name
}

TEST(ModelFile, TextThatIsNotUtf8IsKeptReadable) {
  Model model = every_operator();
  model.labels[0] = "caf\xe9";
  model.history[0].calibration = "images:/\xff";
  EXPECT_EQ(model_from_json(model_to_json(model), "json").labels[0], "caf\xef\xbf\xbd");
}

TEST(ModelFile, WhatCannotBeLoadedIsNotSaved) {
  const Folder folder;
  Model nan = every_operator();
  auto weight = std::make_shared<Tensor>(nan.parameters.at("fc.weight")->clone(host_resource(), "fc.weight"));
  weight->f32()[3] = std::numeric_limits<float>::quiet_NaN();
  nan.parameters["fc.weight"] = weight;
  EXPECT_THAT(message_of<InputError>([&] { save_model(nan, folder / "a"); }), HasSubstr("fc.weight"));
  Model flat = every_operator();
  flat.preprocessing.stddev[1] = 0.0F;
  EXPECT_THAT(message_of<InputError>([&] { save_model(flat, folder / "a"); }), HasSubstr("preprocessing.std"));
  Model labels = every_operator();
  labels.labels.pop_back();
  EXPECT_THAT(message_of<InputError>([&] { save_model(labels, folder / "a"); }),
              AllOf(HasSubstr("labels"), HasSubstr("2 outputs")));
  EXPECT_TRUE(folder.names().empty());
}

TEST(ModelFile, AnInterruptedSaveLeavesTheOldModel) {
  const Folder folder;
  save_model(every_operator(), folder / "a");
  const std::string before = read_all(folder / "a");
  Model other = every_operator();
  other.architecture = "another";
  request_interrupt();
  EXPECT_THROW(save_model(other, folder / "a"), Interrupted);
  clear_interrupt();
  EXPECT_EQ(read_all(folder / "a"), before);
  EXPECT_EQ(folder.names().size(), 1U);
}

/// Writes a model's tensors with another JSON, or none.
void save_with_json(const Model& model, const std::string& path, const std::map<std::string, std::string>& metadata) {
  std::vector<SafetensorsEntry> entries;
  for (const auto& [name, tensor] : model.parameters) {
    const auto dims = tensor->shape().dims();
    entries.push_back(
        {name, DType::kF32, {dims.begin(), dims.end()}, {static_cast<const std::byte*>(tensor->data()), tensor->bytes()}});
  }
  write_safetensors(path, entries, metadata);
}

TEST(ModelFile, TensorsAndGraphMustAgree) {
  const Folder folder;
  Model model = every_operator();
  const std::string json = model_to_json(model);
  const auto refused = [&] { return message_of<InputError>([&] { (void)load_model(folder / "a", host_resource()); }); };
  save_with_json(model, folder / "a", {});
  EXPECT_THAT(refused(), HasSubstr("plain weights"));
  try {
    (void)load_model(folder / "a", host_resource());
  } catch (const InputError& error) {
    EXPECT_EQ(hint_of(error), Hint::kImportWeights);
  }
  Model missing = model;
  missing.parameters.erase("bn.bias");
  save_with_json(missing, folder / "a", {{"elek", json}});
  EXPECT_THAT(refused(), AllOf(HasSubstr("bn.bias"), HasSubstr("missing")));
  Model extra = model;
  extra.parameters["more"] = extra.parameters.at("bn.bias");
  save_with_json(extra, folder / "a", {{"elek", json}});
  EXPECT_THAT(refused(), HasSubstr("\"more\""));
  Model shape = model;
  shape.parameters["bn.bias"] = std::make_shared<Tensor>(Shape{5}, DType::kF32, host_resource(), "bn.bias");
  save_with_json(shape, folder / "a", {{"elek", json}});
  EXPECT_THAT(refused(), AllOf(HasSubstr("bn.bias"), HasSubstr("[6]"), HasSubstr("[5]")));
  Model variance = model;
  auto negative = std::make_shared<Tensor>(model.parameters.at("bn.running_var")->clone(host_resource(), "v"));
  negative->f32()[2] = -1.0F;
  variance.parameters["bn.running_var"] = negative;
  save_with_json(variance, folder / "a", {{"elek", json}});
  EXPECT_THAT(refused(), HasSubstr("bn.running_var"));
}

struct WrongField {
  const char* name;
  const char* from;
  std::string to;
  const char* says;
};

class ModelJson : public ::testing::TestWithParam<WrongField> {};

TEST_P(ModelJson, AWrongFieldIsNamed) {
  std::string json = model_to_json(every_operator());
  const size_t at = json.find(GetParam().from);
  ASSERT_NE(at, std::string::npos) << json;
  json.replace(at, std::string(GetParam().from).size(), GetParam().to);
  const std::string message = message_of<InputError>([&] { (void)model_from_json(json, "model.safetensors"); });
  EXPECT_THAT(message, AllOf(HasSubstr("model.safetensors"), HasSubstr(GetParam().says)));
}

INSTANTIATE_TEST_SUITE_P(
    Fields, ModelJson,
    ::testing::Values(
        WrongField{"not_json", "{", "", "not valid JSON"},                                              //
        WrongField{"deep", "\"labels\":[", "\"labels\":[" + std::string(100000, '['), "nests deeper"},  //
        WrongField{"zero_byte", "{", std::string("{}\0{", 4), "not valid JSON"},
        WrongField{"format", "elek model", "other", "field format"},                                              //
        WrongField{"newer", "\"version\":1", "\"version\":2", "newer elek"},                                      //
        WrongField{"version_text", "\"version\":1", "\"version\":\"1\"", "field version"},                        //
        WrongField{"unknown_at_top", "\"labels\"", "\"extra\":0,\"labels\"", "field extra is not known"},         //
        WrongField{"missing", "\"labels\"", "\"label\"", "field labels is missing"},                              //
        WrongField{"twice", "\"labels\"", "\"format\":\"elek model\",\"labels\"", "\"format\" appears twice"},    //
        WrongField{"labels_number", "[\"caf", "[3,\"caf", "field labels: expected a list of strings"},            //
        WrongField{"op", "\"op\":\"conv2d\"", "\"op\":\"conv9d\"", "field graph.nodes[1].op"},                    //
        WrongField{"op_missing", "\"op\":\"conv2d\",", "", "graph.nodes[1].op is missing"},                       //
        WrongField{"kernel_of_three", "\"kernel\":3", "\"kernel\":[3,3,3]", "graph.nodes[1].kernel"},             //
        WrongField{"kernel_list_zero", "\"kernel\":3", "\"kernel\":[3,0]", "graph.nodes[1].kernel[1]"},           //
        WrongField{"padding_of_two", "\"padding\":1", "\"padding\":[1,1]", "graph.nodes[1].padding"},             //
        WrongField{"kernel_zero", "\"kernel\":3", "\"kernel\":0", "graph.nodes[1].kernel"},                       //
        WrongField{"kernel_fraction", "\"kernel\":3", "\"kernel\":3.5", "graph.nodes[1].kernel"},                 //
        WrongField{"kernel_huge", "\"kernel\":3", "\"kernel\":18446744073709551615", "graph.nodes[1].kernel"},    //
        WrongField{"kernel_no_fit", "\"kernel\":3", "\"kernel\":99", "graph.nodes[1]"},                           //
        WrongField{"groups", "\"groups\":3", "\"groups\":4", "graph.nodes[1]"},                                   //
        WrongField{"bias", "\"bias\":true", "\"bias\":1", "graph.nodes[1].bias"},                                 //
        WrongField{"unknown_attribute", "\"bias\":true", "\"bias\":true,\"dilate\":2", "graph.nodes[1].dilate"},  //
        WrongField{"eps", "\"eps\":0.0011", "\"eps\":-1.0", "graph.nodes[2].eps"},                                //
        WrongField{"eps_nan", "\"eps\":0.0011", "\"eps\":\"nan\"", "graph.nodes[2].eps"},                         //
        WrongField{"input_unknown", "\"inputs\":[\"conv\"]", "\"inputs\":[\"vonc\"]", "graph.nodes[2].inputs"},   //
        WrongField{"input_later", "\"inputs\":[\"conv\"]", "\"inputs\":[\"relu\"]", "graph.nodes[2].inputs"},     //
        WrongField{"inputs_many", "\"inputs\":[\"conv\"]", "\"inputs\":[\"conv\",\"conv\"]", "graph.nodes[2]"},   //
        WrongField{"name_taken", "\"name\":\"bn\"", "\"name\":\"conv\"", "graph.nodes[2]"},                       //
        WrongField{"name_empty", "\"name\":\"bn\"", "\"name\":\"\"", "graph.nodes[2]"},                           //
        WrongField{"shape_two", "\"shape\":[3,9,8]", "\"shape\":[3,9]", "graph.nodes[0].shape"},                  //
        WrongField{"shape_zero", "\"shape\":[3,9,8]", "\"shape\":[3,0,8]", "graph.nodes[0].shape[1]"},            //
        WrongField{"shape_overflows", "\"shape\":[3,9,8]", "\"shape\":[2147483647,2147483647,2147483647]",
                   "graph.nodes[0]"},                                                                           //
        WrongField{"source_range", "\"source\":[-1,2,", "\"source\":[-1,3,", "graph.nodes[4]"},                 //
        WrongField{"source_below", "\"source\":[-1,2,", "\"source\":[-2,2,", "graph.nodes[4].source[0]"},       //
        WrongField{"output", "\"output\":\"fc\"", "\"output\":\"cf\"", "graph.output"},                         //
        WrongField{"nodes_object", "\"nodes\":[", "\"nodes\":3,\"x\":[", "graph.nodes: expected a list"},       //
        WrongField{"mean_count", "\"mean\":[", "\"mean\":[0.5,", "preprocessing.mean"},                         //
        WrongField{"mean_text", "\"mean\":[", "\"mean\":[\"half\",", "preprocessing.mean[0]"},                  //
        WrongField{"history_object", "\"history\":[", "\"history\":[1,", "history[0]: expected an object"},     //
        WrongField{"seed_negative", "\"seed\":18446744073709551615", "\"seed\":-1", "history[0].seed"},         //
        WrongField{"removed_many", "\"removed\":2", "\"removed\":9", "history[0].cuts[0].removed"},             //
        WrongField{"accuracy_above_1", "\"dense\":0.9", "\"dense\":1.5", "history[0].evaluation.top1.dense"},   //
        WrongField{"evaluation_unknown", "\"top1\":{", "\"top2\":3,\"top1\":{", "history[0].evaluation.top2"},  //
        WrongField{"score_null", "\"scores\":[0.1", "\"scores\":[null", "history[0].cuts[0].scores[0]"}),
    [](const ::testing::TestParamInfo<WrongField>& field) { return std::string(field.param.name); });

}  // namespace
}  // namespace elek
