// SPDX-License-Identifier: Apache-2.0
// Weights in every container: the fixtures of tests/fixtures/scripts/make_torch.py hold the same tensors in PyTorch's formats,
// NumPy's, and shards. Each must be read exactly. What is hostile, ambiguous or broken must be refused by its name.
#include <gmock/gmock.h>

#include "models/weights_file.h"
#include "tests/models/archive.h"
#include "tests/models/files.h"

namespace elek {
namespace {

using test::message_of;
using test::read_all;
using test::zip_of;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::string fixture(const std::string& name) { return std::string(ELEK_TEST_DATA) + "/torch/" + name; }

/// The script's formula.
std::vector<float> expected_values(const std::string& name, int64_t count, float add = 0) {
  int64_t key = 0;
  for (const char c : name) key += static_cast<unsigned char>(c);
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(static_cast<float>((key + 7 * i) % 61 - 30) / 8 + add);
  return values;
}

const std::map<std::string, std::vector<int64_t>> kShapes = {
    {"conv1.weight", {3, 2, 3, 3}}, {"bn1.weight", {3}}, {"bn1.running_var", {3}}, {"fc.weight", {2, 3}}, {"fc.bias", {2}}};

std::vector<float> values_of(const WeightsFile& file, const WeightsFile::Entry& entry) {
  std::vector<float> values(static_cast<size_t>(entry.elements()), -77);
  file.read(entry, values);
  return values;
}

void expect_state(const WeightsFile& file, float add = 0) {
  for (const auto& [name, shape] : kShapes) {
    const WeightsFile::Entry* entry = file.find(name);
    ASSERT_NE(entry, nullptr) << file.where() << ": " << name;
    EXPECT_EQ(entry->shape, shape) << name;
    EXPECT_TRUE(entry->is_floating()) << name;
    EXPECT_EQ(values_of(file, *entry), expected_values(name, entry->elements(), add)) << file.where() << ": " << name;
  }
  const WeightsFile::Entry* counter = file.find("bn1.num_batches_tracked");
  ASSERT_NE(counter, nullptr);
  EXPECT_EQ(counter->dtype, "I64");
  EXPECT_TRUE(counter->shape.empty());
  EXPECT_THAT(values_of(file, *counter), ElementsAre(17 + add));
}

/// Bytes as a file. A copy of exactly their size: a read beyond it is one that AddressSanitizer sees.
WeightsFile parse(const std::string& bytes, const std::string& key = "") {
  const auto* const data = reinterpret_cast<const std::byte*>(bytes.data());
  return WeightsFile::parse(MappedFile::owning({data, data + bytes.size()}, "w.pth"), key);
}

struct Case {
  std::string file;
  std::string key;
  size_t others = 0;  // tensors besides the six
};

std::string case_name(const ::testing::TestParamInfo<Case>& info) { return "File" + std::to_string(info.index); }

class TorchFiles : public ::testing::TestWithParam<Case> {};

TEST_P(TorchFiles, AreReadExactly) {
  const WeightsFile file = WeightsFile::open(fixture(GetParam().file), GetParam().key);
  EXPECT_EQ(file.entries().size(), 6 + GetParam().others);
  expect_state(file);
}

INSTANTIATE_TEST_SUITE_P(Containers, TorchFiles,
                         ::testing::Values(Case{"zip.pth", "", 0}, Case{"deflated.pth", "", 0}, Case{"no_crc.pth", "", 0},
                                           Case{"legacy.pth", "", 0}, Case{"legacy_protocol4.pth", "", 0},
                                           Case{"tar.pth", "", 0}, Case{"arrays.npz", "", 0},
                                           Case{"compressed_fortran.npz", "", 0}, Case{"numpy_protocol0.pkl", "", 0},
                                           Case{"numpy_protocol1.pkl", "", 0}, Case{"numpy_protocol2.pkl", "", 0},
                                           Case{"numpy_protocol3.pkl", "", 0}, Case{"numpy_protocol4.pkl", "", 0},
                                           Case{"numpy_protocol5.pkl", "", 0}, Case{"torch_protocol2.pkl", "", 0},
                                           Case{"torch_protocol5.pkl", "", 0}, Case{"model.safetensors.index.json", "", 0},
                                           Case{"pytorch_model.bin.index.json", "", 0}),
                         case_name);
INSTANTIATE_TEST_SUITE_P(Nested, TorchFiles,
                         ::testing::Values(Case{"net_acc_epoch.pth", "net.module", 0}, Case{"training.pth", "", 0},
                                           Case{"training.pth", "state_dict", 0}, Case{"two_parts.pth", "model", 0},
                                           Case{"two_prefixes.safetensors", "model", 0}, Case{"list.pth", "", 0},
                                           Case{"queue.pth", "", 0}, Case{"queue.pth", "net.inner", 0},
                                           Case{"list.pth", "0", 0}, Case{"zip.pth", ".", 0}),
                         case_name);
INSTANTIATE_TEST_SUITE_P(Tensors, TorchFiles,
                         ::testing::Values(Case{"f16_channels_last.pth", "", 0}, Case{"bf16.pth", "", 0},
                                           Case{"f64_legacy.pth", "", 0}, Case{"parameters.pth", "", 0},
                                           Case{"subclass.pth", "", 0}, Case{"shared.pth", "", 0},
                                           Case{"shared_deflated.pth", "", 0}, Case{"shared_legacy.pth", "", 0},
                                           Case{"cuda.pth", "", 0}, Case{"unusual.pth", "", 2}),
                         case_name);
// Two more: bias and mean of the batch norm. The buffer that is not persistent is left out, as in a state dict;
// TorchScript saves it.
INSTANTIATE_TEST_SUITE_P(Modules, TorchFiles,
                         ::testing::Values(Case{"module.pth", "", 2}, Case{"module_in_dict_legacy.pth", "", 2},
                                           Case{"module_fx.pth", "", 2}, Case{"torchscript.pt", "", 3}),
                         case_name);

TEST(TorchFile, NamesAreInTheOrderOfTheStateDict) {
  std::vector<std::string> names;
  const WeightsFile file = WeightsFile::open(fixture("zip.pth"));
  for (const auto& entry : file.entries()) names.push_back(entry.name);
  EXPECT_THAT(names,
              ElementsAre("conv1.weight", "bn1.weight", "bn1.running_var", "fc.weight", "fc.bias", "bn1.num_batches_tracked"));
}

TEST(TorchFile, SaysWhichPartWasTakenAndWhatWasLeft) {
  EXPECT_TRUE(WeightsFile::open(fixture("zip.pth")).notes().empty());
  EXPECT_THAT(WeightsFile::open(fixture("training.pth")).notes(),
              ElementsAre(AllOf(HasSubstr("\"state_dict\""), HasSubstr("\"epoch\""), HasSubstr("\"optimizer\""))));
  EXPECT_THAT(WeightsFile::open(fixture("unusual.pth")).notes(),
              ElementsAre(AllOf(HasSubstr("2 tensors left out"), HasSubstr("\"sparse\""), HasSubstr("\"quantized\""))));
}

TEST(TorchFile, ALongListOfLossesIsNoObstacle) {
  std::string state = read_all(fixture("numpy_protocol2.pkl"));  // {…}: the state dict
  std::string losses = "X\x06" + std::string(3, '\0') + "losses](";
  for (int i = 0; i < 500'000; ++i) losses += "K\x07";
  state.replace(state.size() - 1, 1, losses + "es.");
  expect_state(parse(state));
}

TEST(TorchFile, SeveralPartsWithWeightsAreListedAndOneCanBeNamed) {
  EXPECT_THAT(message_of<InputError>([] { (void)WeightsFile::open(fixture("two_parts.pth")); }),
              AllOf(HasSubstr("2 parts"), HasSubstr("\"model\" (6 entries)"), HasSubstr("\"model_ema\" (6 entries)")));
  expect_state(WeightsFile::open(fixture("two_parts.pth"), "model_ema"), 1);
  expect_state(WeightsFile::open(fixture("two_prefixes.safetensors"), "model_ema"), 1);
  EXPECT_EQ(WeightsFile::open(fixture("two_prefixes.safetensors")).entries().size(), 12U);
  EXPECT_NE(WeightsFile::open(fixture("two_parts.pth"), ".").find("model_ema.fc.bias"), nullptr);
  EXPECT_THAT(message_of<InputError>([] { (void)WeightsFile::open(fixture("two_parts.pth"), "ema"); }),
              AllOf(HasSubstr("nothing is named \"ema\""), HasSubstr("\"model_ema\"")));
  EXPECT_THAT(message_of<InputError>([] { (void)WeightsFile::open(fixture("two_prefixes.safetensors"), "ema"); }),
              AllOf(HasSubstr("\"ema.\""), HasSubstr("\"model_ema\"")));
}

TEST(TorchFile, FrozenTorchScriptIsRefusedByName) {
  EXPECT_THAT(message_of<InputError>([] { (void)WeightsFile::open(fixture("torchscript_frozen.pt")); }),
              AllOf(HasSubstr("TorchScript"), HasSubstr("torch.jit.freeze")));
}

std::string refused(const std::string& bytes, const std::string& key = "") {
  return message_of<InputError>([&] { (void)parse(bytes, key); });
}

TEST(TorchFile, APickleThatWouldRunACommandIsRefusedAndRunsNothing) {
  const test::Folder folder;
  const std::string command = "touch " + (folder / "pwned");
  const std::string evil = std::string("\x80\x02") + "cos\nsystem\nX" + static_cast<char>(command.size()) +
                           std::string(3, '\0') + command + "\x85R.";
  for (const std::string& bytes : {zip_of({{"archive/data.pkl", evil}, {"archive/version", "3\n"}}), evil}) {
    EXPECT_THAT(refused(bytes), AllOf(HasSubstr("hostile"), HasSubstr("os.system"), HasSubstr("touch ")));
  }
  const std::string hidden =
      std::string("\x80\x02}(U\x01") + "acposix\nsystem\nU\x02ls\x85RU\x01" + "bcbuiltins\neval\nU\x01" + "1\x85Ru.";
  EXPECT_THAT(refused(hidden), HasSubstr("posix.system"));
  EXPECT_TRUE(folder.names().empty());
}

TEST(TorchFile, ObjectsThatAreNoTensorsAreNamed) {
  EXPECT_THAT(refused(std::string("\x80\x02", 2) + "ctensorflow\nVariable\n)R."),
              AllOf(HasSubstr("no weights"), HasSubstr("tensorflow.Variable")));
  EXPECT_THAT(refused(std::string("\x80\x02}U\x05", 5) + "epochK\x03s."),
              AllOf(HasSubstr("no weights"), HasSubstr("\"epoch\"")));
  EXPECT_THAT(refused(zip_of({{"a/data.pkl", std::string("\x80\x02}U\x02", 5) + "fcctorch\nmystery\n)Rs."}})),
              AllOf(HasSubstr("no weights"), HasSubstr("\"fc\"")));
}

TEST(TorchFile, CyclesAndExplosionsEndInAnError) {
  const std::string cycle = std::string("\x80\x02}q\x00U\x01", 7) + std::string("ah\x00s.", 5);  // d = {}; d["a"] = d
  EXPECT_THAT(refused(cycle), HasSubstr("no weights"));
  EXPECT_THAT(refused(cycle, "."), AllOf(HasSubstr("64 levels"), HasSubstr("a.a.a")));
  std::string doubling = std::string("\x80\x02", 2) + "]q" + std::string(1, '\0');  // l0 = []; l1 = [l0, l0]; …
  for (char i = 0; i < 60; ++i) doubling += std::string("](h") + i + "h" + i + "eq" + static_cast<char>(i + 1);
  EXPECT_THAT(refused(doubling + ".", "."), AllOf(HasSubstr("more than 300000 values")));
  std::string itself = "\x80\x02]";  // a list that contains itself many times
  for (int i = 0; i < 400'000; ++i) itself += "2a";
  EXPECT_THAT(refused(itself + "."), HasSubstr("more than 300000 values"));
  std::string deep = "\x80\x02" + std::string(100'000, ']') + std::string(99'999, 'a') + ".";
  EXPECT_THAT(refused(deep), HasSubstr("64 levels"));
}

TEST(TorchFile, TensorsThatClaimFarMoreThanTheFileHoldsAreRefused) {
  // A tensor that repeats the two elements of its storage with strides of 0: 2^40 times, and 2^126 times, which overflows.
  const auto repeated = [](const std::string& dims) {
    return zip_of({{"a/data.pkl", std::string("\x80\x02}U\x01", 5) +
                                      "wctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x01" +
                                      "0U\x03" + "cpuK\x02tQ" + "K" + std::string(1, '\0') + "(" + dims + "t(K" +
                                      std::string(1, '\0') + "K" + std::string(1, '\0') + "tNNtRs."},
                   {"a/data/0", "abcdefgh"}});
  };
  const std::string two_to_20 = std::string("J\0\0\x10\0", 5), two_to_63 = "\x8a\x08" + std::string(7, '\xff') + "\x7f";
  EXPECT_THAT(refused(repeated(two_to_20 + two_to_20)), AllOf(HasSubstr("\"w\""), HasSubstr("far more than the 8 bytes")));
  EXPECT_THAT(refused(repeated(two_to_63 + two_to_63)), AllOf(HasSubstr("\"w\""), HasSubstr("more elements than fit")));
  EXPECT_EQ(parse(repeated("K\x03K\x02")).entries().size(), 1U);
}

TEST(TorchFile, AMillionTensorsAreTooMany) {
  // One tensor in a list a million times.
  std::string pickled = std::string("\x80\x02]ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x01") +
                        "0U\x03" + "cpuK\x02tQK" + std::string(1, '\0') + "(K\x01K\x02t(K\x02K\x01tNNtRq\x01" + "a(";
  for (int i = 0; i < 1'000'000; ++i) pickled += "h\x01";
  EXPECT_THAT(refused(zip_of({{"a/data.pkl", pickled + "e."}, {"a/data/0", "abcdefgh"}})),
              HasSubstr("this is no file of weights"));
}

TEST(TorchFile, NamesWithNulBytesAreRefused) {
  std::string bytes = read_all(fixture("legacy.pth"));
  bytes[bytes.find("fc.bias") + 2] = '\0';
  EXPECT_THAT(refused(bytes), HasSubstr("a NUL byte"));
}

TEST(TorchFile, ATensorOutsideOfItsStorageIsNamed) {
  std::string bytes = read_all(fixture("zip.pth"));
  // fc.bias is (2,): its sizes become (9,). The storage of 2 is 8 bytes.
  const std::string sizes = std::string("K\x02\x85", 3);
  const size_t at = bytes.find(sizes, bytes.find("fc.bias"));
  ASSERT_NE(at, std::string::npos);
  bytes[at + 1] = 9;
  // The pickle's checksum is now wrong; write 0 for "not recorded" into the directory.
  const size_t entry = bytes.find("PK\x01\x02");
  ASSERT_EQ(bytes.substr(entry + 46, 12), "zip/data.pkl");
  bytes.replace(entry + 16, 4, std::string(4, '\0'));
  EXPECT_THAT(refused(bytes), AllOf(HasSubstr("\"fc.bias\""), HasSubstr("[9]"), HasSubstr("36 bytes"), HasSubstr("holds 8")));
}

TEST(TorchFile, AWrongChecksumIsFoundWhenTheTensorIsRead) {
  for (const char* name : {"zip.pth", "deflated.pth"}) {
    std::string bytes = read_all(fixture(name));
    const size_t name_at = bytes.find("data/0", bytes.find("PK\x01\x02"));  // of conv1.weight, in the directory
    const size_t header = bytes.rfind("PK\x01\x02", name_at);
    bytes[header + 16] = static_cast<char>(bytes[header + 16] ^ 1);
    const WeightsFile file = parse(bytes);
    EXPECT_THAT(message_of<InputError>([&] { (void)values_of(file, file.entries()[0]); }), HasSubstr("CRC-32")) << name;
  }
}

TEST(TorchFile, EveryTruncationIsAnErrorThatNamesTheFile) {
  for (const std::string name : {"zip.pth", "deflated.pth", "legacy.pth", "tar.pth", "arrays.npz", "numpy_protocol0.pkl",
                                 "numpy_protocol5.pkl", "torch_protocol2.pkl"}) {
    const std::string good = read_all(fixture(name));
    const size_t last = name == "tar.pth" ? good.find("pickle") + 512 : good.size();  // a tar ends with padding
    for (size_t length = 0; length < last; ++length) {
      EXPECT_THAT(refused(good.substr(0, length)), HasSubstr("w.pth")) << name << " " << length;
    }
  }
  EXPECT_THAT(refused(read_all(fixture("zip.pth")).substr(0, 2000)), HasSubstr("truncated at byte 2000"));
  EXPECT_THAT(refused(read_all(fixture("legacy.pth")).substr(0, 1100)), HasSubstr("truncated at byte 1100"));
  EXPECT_THAT(refused(read_all(fixture("legacy.pth")).substr(0, 300)), HasSubstr("truncated at byte 300"));
}

TEST(TorchFile, AnyFlippedByteIsReadOrRefusedAndNothingElse) {
  for (const char* name : {"zip.pth", "legacy.pth", "tar.pth", "compressed_fortran.npz", "numpy_protocol2.pkl", "module.pth"}) {
    const std::string good = read_all(fixture(name));
    for (size_t at = 0; at < good.size(); ++at) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << (at % 8)));
      try {
        const WeightsFile file = parse(bad);
        for (const auto& tensor : file.entries()) (void)values_of(file, tensor);
      } catch (const InputError&) {
        continue;  // refused
      }
    }
  }
}

TEST(TorchFile, OtherArchivesAreCalledByName) {
  EXPECT_THAT(refused(zip_of({{"config.json", "{}"}, {"model.weights.h5", "x"}})),
              AllOf(HasSubstr("Keras"), HasSubstr("tf2onnx")));
  EXPECT_THAT(refused(zip_of({{"m/model.json", "{}"}, {"m/tensors/0", "x"}})), HasSubstr("before PyTorch 1.4"));
  EXPECT_THAT(refused(zip_of({{"serialized_exported_program.json", "{}"}})), HasSubstr("torch.export"));
  EXPECT_THAT(refused(zip_of({{"readme.txt", "x"}, {"w/model.pth", "x"}})),
              AllOf(HasSubstr("readme.txt"), HasSubstr("w/model.pth")));
  EXPECT_THAT(refused(zip_of({})), HasSubstr("nothing"));
  std::string tar = read_all(fixture("tar.pth"));
  tar.replace(tar.find("pickle"), 6, "tickle");
  EXPECT_THAT(refused(tar), AllOf(HasSubstr("tar archive"), HasSubstr("storages"), HasSubstr("tickle"), HasSubstr("tar -xf")));
  EXPECT_THAT(refused(zip_of({{"a/data.pkl", "\x80\x02}."}, {"a/byteorder", "big"}})), HasSubstr("big-endian"));
}

TEST(TorchFile, AnIndexOpensOnlyFilesBesideIt) {
  const test::Folder folder;
  const auto index = [&](const std::string& shard) {
    test::write_all(folder / "i.json", R"({"weight_map":{"fc.bias":")" + shard + "\"}}");
    return message_of<InputError>([&] { (void)WeightsFile::open(folder / "i.json"); });
  };
  for (const char* trick : {"../w.safetensors", "/etc/passwd", "a/b.safetensors", "..", ".", "", "a\\\\b", "a\\u0000b"})
    EXPECT_THAT(index(trick), HasSubstr("elek opens no other")) << trick;
  EXPECT_THAT(index("model-00001-of-00002.safetensors"),
              AllOf(HasSubstr("an index of shards"), HasSubstr("model-00001-of-00002")));
  EXPECT_THAT(index("i.json"), HasSubstr("expected a shard"));
  test::write_all(folder / "s.safetensors", test::container("{}", ""));
  EXPECT_THAT(index("s.safetensors"), AllOf(HasSubstr("\"fc.bias\""), HasSubstr("s.safetensors")));
  test::write_all(folder / "c.json", R"({"architectures":["ResNet"]})");
  EXPECT_THAT(message_of<InputError>([&] { (void)WeightsFile::open(folder / "c.json"); }), HasSubstr("no index of shards"));
}

}  // namespace
}  // namespace elek
