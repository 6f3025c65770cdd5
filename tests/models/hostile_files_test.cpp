// SPDX-License-Identifier: Apache-2.0
// Hostile files, for every reader: files that contain themselves, sizes of 2^63, a million tensors, NUL bytes in names, paths
// that leave the folder, bombs in what a tensor names. Each must be an error that names the object, within one second of
// processor time. The files are made here, so that a file's kind and its attack can be combined freely.
#include <gmock/gmock.h>
#include <time.h>

#include <functional>

#include "models/weights_file.h"
#include "tests/models/deflated.h"
#include "tests/models/files.h"
#include "tests/models/onnx_files.h"

namespace elek::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr double kMostSeconds = 10;  // the sanitizers' own work
#else
constexpr double kMostSeconds = 1;
#endif

double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// The message of the InputError that `run` throws. It must come within the second.
std::string refusal_in_time(const std::function<void()>& run) {
  const double before = processor_seconds();
  const std::string message = message_of<InputError>(run);
  EXPECT_LE(processor_seconds() - before, kMostSeconds) << message;
  return message;
}

/// Opens a file that lies in `folder` and reads all its tensors.
std::string refused_file(const std::string& path) {
  return refusal_in_time([&] {
    const WeightsFile file = WeightsFile::open(path);
    for (const WeightsFile::Entry& entry : file.entries()) {
      std::vector<float> values(static_cast<size_t>(entry.elements()));
      file.read(entry, values);
    }
  });
}

std::string refused(const std::string& bytes) {
  const Folder folder;
  write_all(folder / "w.bin", bytes);
  const std::string message = refused_file(folder / "w.bin");
  EXPECT_THAT(message, HasSubstr("w.bin"));
  EXPECT_EQ(folder.names().size(), 1U) << "the reader wrote a file";
  return message;
}

// ---- pickles, in the five files that PyTorch wrote them to -------------------------------------------------------------

using Sizes = std::vector<uint64_t>;

std::string text(const std::string& value) { return "X" + little_endian(value.size(), 4) + value; }
std::string number(uint64_t value) {  // LONG1; 2^63 needs a byte more for the sign
  const bool is_long = value >> 63 != 0;
  return "\x8a" + std::string(1, is_long ? '\x09' : '\x08') + little_endian(value, 8) + std::string(is_long ? 1 : 0, '\0');
}
std::string tuple_of(const Sizes& sizes) {
  std::string made = "(";
  for (const uint64_t size : sizes) made += number(size);
  return made + "t";
}
std::string put(char memo) { return std::string("q") + memo; }
std::string get(char memo) { return std::string("h") + memo; }
constexpr char kFunction = 0x70, kArguments = 0x71, kState = 0x72;  // places of the memo; 0 to 63 are the nodes'
const std::string kStart = "\x80\x02";

/// How one kind of file writes dictionaries and tensors. A dictionary is open(memo), then names and values, then close.
struct Kind {
  std::string name, open = "}", close = "u";
  std::function<std::string(const Sizes&)> define;  // leaves in the memo what tensors of these sizes are made of
  std::string use;                                  // makes a new tensor of it
  std::function<std::string(const std::string& object, const Sizes& sizes)> file;

  [[nodiscard]] std::string node(char memo, const std::string& members) const { return begin(memo) + members + close; }
  [[nodiscard]] std::string begin(char memo) const {
    // TorchScript's object gets its dictionary as its state, so the memo holds the object and not the dictionary.
    return open == "}" ? open + put(memo) + "(" : open + put(memo) + "}(";
  }
  /// A file whose root is a node with the tensor "w" and other members.
  [[nodiscard]] std::string with(const std::string& members, const Sizes& sizes = {1, 2}) const {
    return file(define(sizes) + node(0, text("w") + use + members), sizes);
  }
};

/// A tensor of torch.save over storage "0", which has two elements.
std::string rebuilt(const Sizes& sizes) {
  return "ctorch._utils\n_rebuild_tensor_v2\n" + put(kFunction) + "0((" + text("storage") + "ctorch\nFloatStorage\n" +
         text("0") + text("cpu") + number(2) + "tQ" + number(0) + tuple_of(sizes) + tuple_of(Sizes(sizes.size(), 1)) + "NNt" +
         put(kArguments) + "0";
}
std::string numpy_array(const Sizes& sizes) {
  return "cnumpy.core.multiarray\n_reconstruct\n" + put(kFunction) + "0(cnumpy\nndarray\nK" + std::string(1, '\0') +
         "\x85U\x01" + "bt" + put(kArguments) + "0(K\x01" + tuple_of(sizes) + "cnumpy\ndtype\n(U\x02" + "f4K" +
         std::string(1, '\0') + "K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK" + std::string(1, '\0') +
         "tb\x89U\x08" + "abcdefght" + put(kState) + "0";
}

std::string zip_file(const std::string& object, std::vector<ArchiveEntry> more = {}) {
  const std::string pickle = kStart + object + ".";
  std::vector<ArchiveEntry> entries{{"a/data.pkl", pickle, pickle.size()}, {"a/version", "3\n", 2}};
  if (more.empty()) more.push_back({"a/data/0", "abcdefgh", 8});
  entries.insert(entries.end(), more.begin(), more.end());
  return archive_of(entries);
}
std::string legacy_file(const std::string& object, uint64_t elements = 2) {
  const std::string magic = kStart + "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", version = kStart + "M\xe9\x03.";
  return magic + version + kStart + "}." + kStart + object + "." + kStart + "](" + text("0") + "e." +
         little_endian(elements, 8) + "abcdefgh";
}
std::string tar_entry(const std::string& name, const std::string& data) {
  std::string header = name + std::string(124 - name.size(), '\0');
  char size[13];
  std::snprintf(size, sizeof(size), "%011o ", static_cast<unsigned>(data.size()));
  header += size;
  header.resize(257, '0');
  header += "ustar";
  header.resize(512, '\0');
  return header + data + std::string((512 - data.size() % 512) % 512, '\0');
}
std::string tar_storages(uint64_t elements = 2) {
  return kStart + "K\x01." + kStart + "(K\x07" + text("cpu") + "ctorch\nFloatStorage\nt." + little_endian(elements, 8) +
         "abcdefgh" + kStart + "].";
}
std::string tar_tensors(const Sizes& sizes) {
  std::string made = kStart + "K\x01." + kStart + "(K\x08K\x07" + "ctorch\nFloatTensor\nt." + little_endian(sizes.size(), 4) +
                     std::string(4, '\0');
  for (const uint64_t size : sizes) made += little_endian(size, 8);
  for (size_t i = 0; i < sizes.size(); ++i) made += little_endian(1, 8);
  return made + std::string(8, '\0');
}
std::string tar_file(const std::string& object, const Sizes& sizes) {
  return tar_entry("storages", tar_storages()) + tar_entry("tensors", tar_tensors(sizes)) +
         tar_entry("pickle", kStart + object + ".") + std::string(1024, '\0');
}

const Kind& kind(const std::string& name) {
  static const std::vector<Kind> kKinds = [] {
    const std::string use = get(kFunction) + get(kArguments) + "R";
    Kind zip{"Zip", "}", "u", rebuilt, use, [](const std::string& object, const Sizes&) { return zip_file(object); }};
    Kind script = zip, legacy = zip, tar = zip, bare = zip;
    script.name = "TorchScript";
    script.open = "c__torch__\nNet\n)\x81";
    script.close = "ub";
    script.file = [](const std::string& object, const Sizes&) {
      return zip_file(object, {{"a/data/0", "abcdefgh", 8}, {"a/constants.pkl", "\x80\x02).", 4}, {"a/code/net.py", ""}});
    };
    legacy.name = "Legacy";
    legacy.file = [](const std::string& object, const Sizes&) { return legacy_file(object); };
    tar.name = "Tar";
    tar.define = [](const Sizes&) { return std::string(); };
    tar.use = text("8") + "Q";
    tar.file = tar_file;
    bare.name = "Bare";
    bare.define = numpy_array;
    bare.use = use + get(kState) + "b";
    bare.file = [](const std::string& object, const Sizes&) { return kStart + object + "."; };
    return std::vector<Kind>{zip, script, legacy, tar, bare};
  }();
  for (const Kind& each : kKinds)
    if (each.name == name) return each;
  throw std::logic_error(name);
}

class HostilePickle : public ::testing::TestWithParam<const char*> {
 protected:
  const Kind& kind_ = kind(GetParam());
};

/// Without it, the tests below could pass because the file is no file of its kind.
TEST_P(HostilePickle, IsReadIfNothingIsWrong) {
  const Folder folder;
  write_all(folder / "w.bin", kind_.with(""));
  const WeightsFile file = WeightsFile::open(folder / "w.bin");
  ASSERT_EQ(file.entries().size(), 1U);
  EXPECT_EQ(file.entries()[0].name, "w");
  EXPECT_EQ(file.entries()[0].shape, (std::vector<int64_t>{1, 2}));
}

TEST_P(HostilePickle, ContainsItself) {
  EXPECT_THAT(refused(kind_.with(text("a") + get(0))), AllOf(HasSubstr("a.a.a"), HasSubstr("64 levels")));
}

TEST_P(HostilePickle, IsNestedAHundredThousandTimes) {
  std::string opened, closed;
  for (int i = 0; i < 100'000; ++i) {
    opened += text("a") + kind_.begin(1);
    closed += kind_.close;
  }
  EXPECT_THAT(refused(kind_.with(opened + closed)), AllOf(HasSubstr("a.a.a"), HasSubstr("64 levels")));
}

TEST_P(HostilePickle, GrowsExponentially) {
  std::string doubled = kind_.node(1, text("w") + kind_.use);
  for (char i = 2; i < 40; ++i) doubled = kind_.node(i, text("a") + doubled + text("b") + get(static_cast<char>(i - 1)));
  EXPECT_THAT(refused(kind_.with(text("a") + doubled)), AllOf(HasSubstr("more than 300000 values"), HasSubstr("a.a.a")));
}

TEST_P(HostilePickle, HasSizesOf63Bits) {
  EXPECT_THAT(refused(kind_.with("", {uint64_t{1} << 62, 4})),
              AllOf(HasSubstr("\"w\""), HasSubstr("more elements than fit in memory")));
  EXPECT_THAT(refused(kind_.with("", {~uint64_t{0} >> 1, ~uint64_t{0} >> 1})), HasSubstr("\"w\""));
  EXPECT_THAT(refused(kind_.with("", {uint64_t{1} << 63, 1})), HasSubstr("\"w\""));
  EXPECT_THAT(refused(kind_.with("", {1000, 1000})), AllOf(HasSubstr("\"w\""), HasSubstr("needs ")));
}

TEST_P(HostilePickle, HasANulByteInAName) {
  EXPECT_THAT(refused(kind_.with(text(std::string("a\0b", 3)) + kind_.use)), HasSubstr("a NUL byte"));
}

TEST_P(HostilePickle, HasAMillionTensors) {
  std::string members;
  for (int i = 0; i < 1'000'000; ++i) members += text(std::to_string(i)) + kind_.use;
  EXPECT_THAT(refused(kind_.with(members)), HasSubstr("more than 300000 values"));
  members.clear();
  for (int i = 0; i < 110'000; ++i) members += text(std::to_string(i)) + kind_.use;
  EXPECT_THAT(refused(kind_.with(members)), HasSubstr("more than 100000"));
}

TEST_P(HostilePickle, WouldRunACommand) {
  const std::string call = "cos\nsystem\n" + text("touch w.evil") + "\x85R";
  EXPECT_THAT(refused(kind_.with(text("a") + call)), AllOf(HasSubstr("os.system"), HasSubstr("touch w.evil")));
}

INSTANTIATE_TEST_SUITE_P(Files, HostilePickle, ::testing::Values("Zip", "TorchScript", "Legacy", "Tar", "Bare"),
                         [](const auto& each) { return std::string(each.param); });

/// A zip file whose tensor names the storage `key`.
std::string zip_with_storage(const std::string& key, const std::vector<ArchiveEntry>& entries, const Sizes& sizes = {1, 2}) {
  const Kind& zip = kind("Zip");
  std::string define = zip.define(sizes);
  const size_t at = define.find(text("0"));
  define.replace(at, text("0").size(), text(key));
  return zip_file(define + zip.node(0, text("w") + zip.use), entries);
}

TEST(HostileZip, HasATensorOutsideOfTheArchivesFolder) {
  for (const char* key : {"../../../../w", "..", "a/../../b"}) {
    const std::string name = std::string("a/data/") + key;
    EXPECT_THAT(refused(zip_with_storage(key, {{name, "abcdefgh", 8}})), AllOf(HasSubstr("\"" + name + "\""), HasSubstr("..")));
  }
  EXPECT_THAT(refused(zip_with_storage("0", {{"a/data/0", "abcdefgh", 8}, {"/etc/passwd", "x", 1}})),
              HasSubstr("\"/etc/passwd\""));
  const std::string nul("a/data/0\0x", 10);
  EXPECT_THAT(refused(zip_with_storage(nul.substr(7), {{nul, "abcdefgh", 8}})), HasSubstr("a NUL byte"));
}

TEST(HostileZip, HasABombThatATensorNames) {
  const std::string zeros(size_t{1} << 28, '\0');
  ArchiveEntry bomb = packed("a/data/0", zeros);
  bomb.crc = 0;
  EXPECT_THAT(refused(zip_with_storage("0", {bomb}, {1 << 13, 1 << 13})),
              AllOf(HasSubstr("\"a/data/0\""), HasSubstr("too many for an archive")));
  bomb.size = 8;
  EXPECT_THAT(refused(zip_with_storage("0", {bomb})), AllOf(HasSubstr("\"a/data/0\""), HasSubstr("inflates to more")));
  bomb.size = size_t{1} << 20;  // what small archives may hold
  EXPECT_THAT(refused(zip_with_storage("0", {bomb})), AllOf(HasSubstr("\"a/data/0\""), HasSubstr("inflates to more")));
  ArchiveEntry pickle = bomb;
  pickle.name = "a/data.pkl";
  pickle.size = zeros.size();
  const ArchiveEntry filling{"a/data/0", std::string(size_t{5} << 20, 'x'), size_t{5} << 20};  // so that 64 times as many pass
  EXPECT_THAT(refused(archive_of({pickle, filling})),
              AllOf(HasSubstr("\"a/data.pkl\""), HasSubstr("too many for a compressed pickle")));
}

/// Each tensor needs the record unpacked once more.
TEST(HostileZip, HasManyTensorsInOneDeflatedEntry) {
  const std::string data(size_t{64} << 20, '\0');
  ArchiveEntry record = packed("a/data/0", data);
  const ArchiveEntry filling{"a/data/1", std::string(size_t{1} << 20, 'x'), size_t{1} << 20};
  const Kind& zip = kind("Zip");
  std::string members;
  for (int i = 0; i < 1000; ++i) members += text(std::to_string(i)) + zip.use;
  EXPECT_THAT(refused(zip_file(zip.define({1, 2}) + zip.node(0, members), {record, filling})), HasSubstr("far more than"));
}

TEST(HostileZip, HasAMillionEntries) {
  std::vector<ArchiveEntry> entries;
  for (int i = 0; i < 1'000'000; ++i) entries.push_back({std::to_string(i) + ".npy", "", 0});
  EXPECT_THAT(refused(archive_of(entries)), HasSubstr("1000000 entries"));
}

std::string npy(const std::string& shape) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + shape + "), }\n";
  return std::string("\x93NUMPY\x01\0", 8) + little_endian(header.size(), 2) + header + "abcdefgh";
}

TEST(HostileNumpy, HasSizesNamesAndBombs) {
  const auto one = [](const std::string& name, const std::string& data) { return archive_of({{name, data, data.size()}}); };
  EXPECT_THAT(refused(one("w.npy", npy("4611686018427387904, 4"))),
              AllOf(HasSubstr("\"w\""), HasSubstr("more elements than fit")));
  EXPECT_THAT(refused(one("w.npy", npy("9223372036854775808,"))), AllOf(HasSubstr("\"w\""), HasSubstr("out of range")));
  EXPECT_THAT(refused(one(std::string("w\0x.npy", 7), npy("2,"))), HasSubstr("a NUL byte"));
  EXPECT_THAT(refused(one("../w.npy", npy("2,"))), AllOf(HasSubstr("\"../w.npy\""), HasSubstr("..")));
  ArchiveEntry bomb = packed("w.npy", npy("2,") + std::string(size_t{1} << 28, '\0'));
  bomb.crc = 0;
  EXPECT_THAT(refused(archive_of({bomb})), AllOf(HasSubstr("\"w.npy\""), HasSubstr("too many for an archive")));
  bomb.size = npy("2,").size();
  EXPECT_THAT(refused(archive_of({bomb})), AllOf(HasSubstr("\"w.npy\""), HasSubstr("inflates to more")));
}

TEST(HostileLegacy, HasAStorageOf63Bits) {
  const Kind& legacy = kind("Legacy");
  const std::string object = legacy.define({1, 2}) + legacy.node(0, text("w") + legacy.use);
  for (const int bits : {40, 61, 62, 63}) {
    EXPECT_THAT(refused(legacy_file(object, uint64_t{1} << bits)), HasSubstr("storage \"0\"")) << bits;
  }
}

TEST(HostileTar, HasStoragesOf63BitsAndPaths) {
  const std::string pickle = tar_entry("pickle", kStart + "}" + text("w") + text("8") + "Qs.");
  const std::string tensors = tar_entry("tensors", tar_tensors({1, 2}));
  for (const int bits : {40, 61, 62, 63}) {
    EXPECT_THAT(refused(tar_entry("storages", tar_storages(uint64_t{1} << bits)) + tensors + pickle),
                HasSubstr("storage \"7\""))
        << bits;
  }
  for (const char* name : {"../storages", "/tmp/storages", "a/../../storages"}) {
    EXPECT_THAT(refused(tar_entry(name, tar_storages()) + tensors + pickle), HasSubstr(std::string("\"") + name + "\""))
        << name;
  }
  std::string large = tar_entry("storages", tar_storages());
  large.replace(124, 12, "777777777777");  // 2^36 - 1 bytes
  EXPECT_THAT(refused(large + tensors + pickle), AllOf(HasSubstr("truncated"), HasSubstr("\"storages\"")));
  std::string empty;  // a million members
  for (int i = 0; i < 100'000; ++i) empty += tar_entry("x", "");
  EXPECT_THAT(refused(empty), HasSubstr("a tar archive that is no PyTorch file"));
}

// ---- safetensors and their index ---------------------------------------------------------------------------------------

std::string tensor(const std::string& shape, const std::string& offsets) {
  return R"({"dtype":"F32","shape":[)" + shape + R"(],"data_offsets":[)" + offsets + "]}";
}

TEST(HostileSafetensors, IsRefused) {
  const std::string data = "abcdefgh";
  const auto one = [&](const std::string& name, const std::string& what) {
    return refused(container("{\"" + name + "\":" + what + "}", data));
  };
  EXPECT_THAT(one("w", tensor("4611686018427387904,4", "0,8")), AllOf(HasSubstr("\"w\""), HasSubstr("more elements than fit")));
  EXPECT_THAT(one("w", tensor("9223372036854775808", "0,8")), AllOf(HasSubstr("\"w\""), HasSubstr("9223372036854775808")));
  EXPECT_THAT(one("w", tensor("2", "0,9223372036854775808")), HasSubstr("\"w\""));
  EXPECT_THAT(one("w\\u0000x", tensor("2", "0,8")), HasSubstr("NUL"));
  EXPECT_THAT(one("w", std::string(1'000'000, '[')), HasSubstr("array"));
  std::string header = "{";
  for (int i = 0; i < 1'000'000; ++i) header += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":" + tensor("0", "0,0");
  EXPECT_THAT(refused(container(header + "}", "")), HasSubstr("more than 100000 tensors"));
}

TEST(HostileIndex, IsRefused) {
  const Folder folder;
  write_all(folder / "s.safetensors", container("{\"w\":" + tensor("2", "0,8") + "}", "abcdefgh"));
  const auto index = [&](const std::string& json) {
    write_all(folder / "i.json", json);
    return refused_file(folder / "i.json");
  };
  const auto map = [&](const std::string& name, const std::string& shard) {
    return index(R"({"weight_map":{")" + name + "\":\"" + shard + "\"}}");
  };
  EXPECT_THAT(map("w", "../s.safetensors"), AllOf(HasSubstr("\"../s.safetensors\""), HasSubstr("opens no other")));
  EXPECT_THAT(map("w", "s.safetensors\\u0000x"), HasSubstr("opens no other"));
  EXPECT_THAT(map("w\\u0000x", "s.safetensors"), HasSubstr("is not in the shard"));
  EXPECT_THAT(map("w", "i.json"), AllOf(HasSubstr("i.json"), HasSubstr("expected a shard")));  // contains itself
  EXPECT_THAT(index(R"({"weight_map":)" + std::string(1'000'000, '[')), HasSubstr("deeper than 16 levels"));
  EXPECT_THAT(index(R"({"weight_map":)" + std::string(1'000'000, '[') + std::string(1'000'000, ']') + "}"),
              HasSubstr("i.json"));
  std::string many;
  for (int i = 0; i < 100'000; ++i) many += (i == 0 ? "\"" : ",\"") + std::to_string(i) + R"(":"s.safetensors")";
  EXPECT_THAT(index("{\"weight_map\":{" + many + "}}"), HasSubstr("is not in the shard"));
  many += std::string(size_t{16} << 20, ' ');
  EXPECT_THAT(index("{\"weight_map\":{" + many + "}}"), HasSubstr("too large for an index"));
}

// ---- ONNX --------------------------------------------------------------------------------------------------------------

std::string refused_onnx(const OnnxFile& file) {
  const std::string bytes = file.bytes();
  const std::string message = refusal_in_time(
      [&] { (void)import_onnx(MappedFile::in_memory(std::as_bytes(std::span(bytes)), "net.onnx"), {}, host_resource()); });
  EXPECT_THAT(message, HasSubstr("net.onnx"));
  return message;
}

OnnxFile with_input() { return OnnxFile().input("x", {2, 4, 4}); }

TEST(HostileOnnx, HasCyclesAndChains) {
  EXPECT_THAT(refused_onnx(with_input().node("Add", {"x", "b"}, {"a"}).node("Relu", {"a"}, {"b"}).head("b", 2)),
              HasSubstr("cycle"));
  OnnxFile ring = with_input(), backwards = with_input(), million = with_input(), same = with_input();
  constexpr int kNodes = 99'000;
  for (int i = 0; i < kNodes; ++i) {
    ring.node("Relu", {std::to_string((i + 1) % kNodes)}, {std::to_string(i)});
    backwards.node("Relu", {i + 1 == kNodes ? "x" : std::to_string(i + 1)}, {std::to_string(i)});
    same.node("Add", {i == 0 ? "x" : std::to_string(i - 1), i == 0 ? "x" : std::to_string(i - 1)}, {std::to_string(i)});
  }
  for (int i = 0; i < 1'000'000; ++i) million.node("Relu", {"x"}, {std::to_string(i)});
  EXPECT_THAT(refused_onnx(ring.head("0", 2)), HasSubstr("does not depend on an input"));
  EXPECT_THAT(refused_onnx(backwards.head("0", 2)), HasSubstr("cycle or out of order"));
  EXPECT_THAT(refused_onnx(same.head(std::to_string(kNodes - 1), 2)), HasSubstr("more than 4096 nodes"));
  EXPECT_THAT(refused_onnx(million.head("0", 2)), HasSubstr("more than 100000 nodes"));
}

TEST(HostileOnnx, HasSizesNamesAndTensors) {
  const auto conv = [](const std::vector<int64_t>& dims) {
    return refused_onnx(with_input().tensor("w", 1, dims, std::string(16, '\1')).node("Conv", {"x", "w"}, {"y"}).head("y", 2));
  };
  EXPECT_THAT(conv({int64_t{1} << 62, 4, 1, 1}), AllOf(HasSubstr("\"w\""), HasSubstr("more elements than fit")));
  EXPECT_THAT(conv({std::numeric_limits<int64_t>::min(), 2, 1, 1}), AllOf(HasSubstr("\"w\""), HasSubstr("negative")));
  EXPECT_THAT(refused_onnx(with_input().tensor(std::string("w\0x", 3), 1, {2, 2, 1, 1}, std::string(16, '\1')).head("x", 2)),
              HasSubstr("no text"));
  OnnxFile many = with_input();
  for (int i = 0; i < 1'000'000; ++i) many.initialiser(Message().integer(1, 1).integer(2, 1).text(8, std::to_string(i)));
  EXPECT_THAT(refused_onnx(many.head("x", 2)), HasSubstr("more than 100000 initialisers"));
}

/// A graph in an attribute of a node of a graph in an attribute …: the bodies of If and Loop.
TEST(HostileOnnx, IsNested) {
  Message body = Message().message(1, Message().text(4, "Relu"));
  for (int i = 0; i < 5'000; ++i) {
    body = Message().message(1, Message().text(1, "x").text(2, "y").text(4, "If").message(
                                    5, Message().text(1, "then_branch").integer(20, 5).message(6, body)));
  }
  OnnxFile file = with_input().node("If", {"x"}, {"y"}, {Message().text(1, "then_branch").integer(20, 5).message(6, body)});
  EXPECT_THAT(refused_onnx(file.head("y", 2)), HasSubstr("If"));
}

TEST(HostileOnnx, HasExternalDataElsewhereOrOfAnySize) {
  const Folder folder;
  write_all(folder / "d.bin", std::string(16, '\0'));
  const auto load = [&](const std::string& location, const std::string& offset, const std::string& length,
                        const std::vector<int64_t>& dims) {
    Message tensor;
    for (const int64_t dim : dims) tensor.integer(1, dim);
    tensor.integer(2, 1).text(8, "w").integer(14, 1).message(13, Message().text(1, "location").text(2, location));
    tensor.message(13, Message().text(1, "offset").text(2, offset)).message(13, Message().text(1, "length").text(2, length));
    write_all(folder / "net.onnx", with_input().initialiser(tensor).node("Conv", {"x", "w"}, {"y"}).head("y", 2).bytes());
    return refusal_in_time([&] { (void)import_onnx(folder / "net.onnx", {}, host_resource()); });
  };
  const std::vector<int64_t> good{2, 2, 1, 1};
  for (const std::string& path :
       {std::string("../../../../etc/passwd"), std::string("/etc/passwd"), std::string("d.bin\0x", 7)})
    EXPECT_THAT(load(path, "0", "16", good), AllOf(HasSubstr("\"w\""), HasSubstr("beside the network")));
  EXPECT_THAT(load("d.bin", "9223372036854775808", "16", good), HasSubstr("which holds 16"));
  EXPECT_THAT(load("d.bin", "0", "9223372036854775808", good), HasSubstr("which holds 16"));
  EXPECT_THAT(load("d.bin", "0", "16", {int64_t{1} << 62, 4, 1, 1}),
              AllOf(HasSubstr("\"w\""), HasSubstr("more elements than fit")));
}

// ---- kinds that are refused --------------------------------------------------------------------------------------------

/// By their first bytes or the names in them, whatever else they hold.
TEST(HostileOthers, AreRefusedByTheirKind) {
  const std::string rest(size_t{16} << 20, '\xff');
  EXPECT_THAT(refused("\x89HDF\r\n\x1a\n" + rest), HasSubstr("HDF5"));
  EXPECT_THAT(refused("\x1f\x8b\x08" + rest), HasSubstr("gzip"));
  EXPECT_THAT(refused(std::string("\x1c\0\0\0TFL3", 8) + rest), HasSubstr("TensorFlow Lite"));
  EXPECT_THAT(refused("\x93NUMPY" + rest), HasSubstr("NumPy"));
  EXPECT_THAT(refused("<html>" + std::string(size_t{16} << 20, 'x')), HasSubstr("HTML"));
  EXPECT_THAT(refused(rest), HasSubstr("w.bin"));
  ArchiveEntry bomb = packed("model.weights.h5", std::string(size_t{1} << 28, '\0'));
  EXPECT_THAT(refused(archive_of({{"config.json", "{}", 2}, bomb})), HasSubstr("\"model.weights.h5\""));
  bomb.size = 8;
  EXPECT_THAT(refused(archive_of({{"config.json", "{}", 2}, bomb})), HasSubstr("Keras"));
}

}  // namespace
}  // namespace elek::test
