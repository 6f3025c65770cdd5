// SPDX-License-Identifier: Apache-2.0
// Memory while a file is read: at most the parameters as f32, the file's size and a constant, for each kind of file. A child
// process writes a ResNet-18 (47 MB of parameters) as such a file, another imports it and reports how far its resident memory
// rose. A reader that copied the file, or all tensors once more, would exceed the bound.
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <filesystem>
#include <functional>

#include "models/import.h"
#include "models/onnx/import.h"
#include "tests/models/deflated.h"
#include "tests/models/files.h"
#include "tests/models/onnx_files.h"

namespace elek::test {
namespace {

constexpr int64_t kConstant = int64_t{4} << 20;  // code that is touched first, threads, the graph, tables of names

/// A line "NAME:   12 kB" of /proc/self/status, in bytes.
int64_t status_bytes(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(name + ":")) return std::stoll(line.substr(name.size() + 1)) * 1024;
  throw std::runtime_error("no " + name);
}

/// What `run` returns in a process of its own, which starts without the memory that this one has freed.
int64_t in_child(const std::function<int64_t()>& run) {
  int ends[2];
  if (::pipe(ends) != 0) throw std::runtime_error("no pipe");
  const pid_t child = ::fork();
  if (child == 0) {
    int64_t result = -1;
    try {
      ::malloc_trim(0);
      result = run();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
    }
    const bool written = ::write(ends[1], &result, sizeof(result)) == static_cast<ssize_t>(sizeof(result));
    ::_exit(written ? 0 : 1);
  }
  ::close(ends[1]);
  int64_t result = -1;
  const ssize_t got = ::read(ends[0], &result, sizeof(result));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (got != static_cast<ssize_t>(sizeof(result)) || status != 0) return -1;
  return result;
}

// ---- the network as files ----------------------------------------------------------------------------------------------

struct Array {
  std::string name;
  std::vector<int64_t> shape;
  std::string bytes;
};

Model network() {
  Model model;
  model.graph = build_resnet(resnet_spec("resnet18"));
  model.parameters = random_parameters(model.graph, 1, host_resource());
  model.preprocessing = default_preprocessing(3);
  return model;
}

/// All parameters as f32, or their upper halves: bf16.
std::vector<Array> arrays(bool half = false) {
  const Model model = network();
  std::vector<Array> all;
  for (const auto& [name, tensor] : model.parameters) {
    const std::span<const int64_t> dims = tensor->shape().dims();
    Array array{name, {dims.begin(), dims.end()}, {}};
    const std::span<const float> values = tensor->f32();
    const auto* const from = reinterpret_cast<const char*>(values.data());
    for (size_t i = 0; i < values.size(); ++i) array.bytes.append(from + 4 * i + (half ? 2 : 0), half ? 2 : 4);
    all.push_back(std::move(array));
  }
  return all;
}

std::string text(const std::string& value) { return "X" + little_endian(value.size(), 4) + value; }
std::string number(int64_t value) { return "\x8a\x08" + little_endian(static_cast<uint64_t>(value), 8); }
std::string tuple(const std::vector<int64_t>& values) {
  std::string made = "(";
  for (const int64_t value : values) made += number(value);
  return made + "t";
}
std::vector<int64_t> strides_of(const std::vector<int64_t>& shape) { return row_major_strides(shape); }
int64_t elements(const Array& array) {
  int64_t count = 1;
  for (const int64_t dim : array.shape) count *= dim;
  return count;
}
const std::string kStart = "\x80\x02";

/// The state dict as torch.save pickles it, each tensor over a storage of its own.
std::string state_dict(const std::vector<Array>& all, const std::string& storage) {
  std::string made = kStart + "}(";
  for (size_t i = 0; i < all.size(); ++i) {
    made += text(all[i].name) + "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "ctorch\n" + storage + "\n" +
            text(std::to_string(i)) + text("cpu") + number(elements(all[i])) + "tQ" + number(0) + tuple(all[i].shape) +
            tuple(strides_of(all[i].shape)) + "NNtR";
  }
  return made + "u.";
}

std::string zip_bytes(const std::vector<Array>& all, const std::string& storage, bool deflate, bool script) {
  std::string pickle = state_dict(all, storage);
  if (script) pickle = kStart + "c__torch__\nNet\n)\x81" + pickle.substr(2, pickle.size() - 3) + "b.";
  std::vector<ArchiveEntry> entries{stored("a/data.pkl", pickle)};
  if (script) entries.push_back(stored("a/constants.pkl", kStart + ")."));
  for (size_t i = 0; i < all.size(); ++i) {
    const std::string name = "a/data/" + std::to_string(i);
    entries.push_back(deflate ? packed(name, all[i].bytes, 1) : stored(name, all[i].bytes));
  }
  return archive_of(entries);
}

std::string legacy_bytes(const std::vector<Array>& all) {
  std::string made = kStart + "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." + kStart + "M\xe9\x03." + kStart + "}." +
                     state_dict(all, "FloatStorage") + kStart + "](";
  for (size_t i = 0; i < all.size(); ++i) made += text(std::to_string(i));
  made += "e.";
  for (const Array& array : all) made += little_endian(static_cast<uint64_t>(elements(array)), 8) + array.bytes;
  return made;
}

std::string tar_bytes(const std::vector<Array>& all) {
  const std::string count = kStart + number(std::ssize(all)) + ".";
  std::string storages = count, tensors = count, pickle = kStart + "}(";
  for (size_t i = 0; i < all.size(); ++i) {
    const auto key = static_cast<int64_t>(i);
    storages += kStart + "(" + number(key) + text("cpu") + "ctorch\nFloatStorage\nt." +
                little_endian(static_cast<uint64_t>(elements(all[i])), 8) + all[i].bytes;
    tensors += kStart + "(" + number(1000 + key) + number(key) + "ctorch\nFloatTensor\nt." +
               little_endian(all[i].shape.size(), 4) + std::string(4, '\0');
    for (const int64_t dim : all[i].shape) tensors += little_endian(static_cast<uint64_t>(dim), 8);
    for (const int64_t stride : strides_of(all[i].shape)) tensors += little_endian(static_cast<uint64_t>(stride), 8);
    tensors += std::string(8, '\0');
    pickle += text(all[i].name) + text(std::to_string(1000 + key)) + "Q";
  }
  storages += kStart + "].";
  std::string archive;
  for (const auto& [name, data] :
       {std::pair<std::string, std::string>{"storages", storages}, {"tensors", tensors}, {"pickle", pickle + "u."}}) {
    char size[13];
    std::snprintf(size, sizeof(size), "%011o ", static_cast<unsigned>(data.size()));
    std::string header = name + std::string(124 - name.size(), '\0') + size;
    header.resize(257, '0');
    header += "ustar";
    header.resize(512, '\0');
    archive += header + data + std::string((512 - data.size() % 512) % 512, '\0');
  }
  return archive + std::string(1024, '\0');
}

/// A dict of NumPy arrays: their bytes lie in the pickle.
std::string bare_bytes(const std::vector<Array>& all) {
  const std::string zero = "K" + std::string(1, '\0');
  std::string made = kStart + "}(";
  for (const Array& array : all) {
    made += text(array.name) + "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + zero + "\x85U\x01" + "btR(K\x01" +
            tuple(array.shape) + "cnumpy\ndtype\n(U\x02" + "f4" + zero +
            "K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff" + zero + "tb\x89T" +
            little_endian(array.bytes.size(), 4) + array.bytes + "tb";
  }
  return made + "u.";
}

std::string npz_bytes(const std::vector<Array>& all) {
  std::vector<ArchiveEntry> entries;
  for (const Array& array : all) {
    std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
    for (const int64_t dim : array.shape) header += std::to_string(dim) + ",";
    header += "), }\n";
    entries.push_back(stored(array.name + ".npy",
                             std::string("\x93NUMPY\x01\0", 8) + little_endian(header.size(), 2) + header + array.bytes));
  }
  return archive_of(entries);
}

std::string safetensors_bytes(const std::vector<Array>& all, const std::string& dtype) {
  std::string header, data;
  for (const Array& array : all) {
    std::string shape;
    for (const int64_t dim : array.shape) shape += (shape.empty() ? "" : ",") + std::to_string(dim);
    header += (header.empty() ? "{\"" : ",\"") + array.name + R"(":{"dtype":")" + dtype + R"(","shape":[)" + shape +
              R"(],"data_offsets":[)" + std::to_string(data.size()) + "," + std::to_string(data.size() + array.bytes.size()) +
              "]}";
    data += array.bytes;
  }
  return container(header + "}", data);
}

/// Two files and their index.
void write_shards(const Folder& folder, const std::string& index) {
  std::vector<Array> all = arrays(), parts[2];
  std::string map;
  for (size_t i = 0; i < all.size(); ++i) {
    map += (map.empty() ? "\"" : ",\"") + all[i].name + R"(":"part)" + std::to_string(i % 2) + ".safetensors\"";
    parts[i % 2].push_back(std::move(all[i]));
  }
  write_all(index, "{\"weight_map\":{" + map + "}}");
  for (size_t i = 0; i < 2; ++i)
    write_all(folder / ("part" + std::to_string(i) + ".safetensors"), safetensors_bytes(parts[i], "F32"));
}

/// One layer of 48 MB in a file beside the network.
constexpr int64_t kOutputs = 3000, kInputs = 4000;
void write_external(const Folder& folder, const std::string& path) {
  Message weight;
  for (const int64_t dim : {kOutputs, kInputs, int64_t{1}, int64_t{1}}) weight.integer(1, dim);
  weight.integer(2, 1).text(8, "w").integer(14, 1).message(13, Message().text(1, "location").text(2, "w.bin"));
  write_all(folder / "w.bin", std::string(kOutputs * kInputs * 4, '\1'));
  OnnxFile file = OnnxFile().input("x", {kInputs, 1, 1}).initialiser(weight).node("Conv", {"x", "w"}, {"y"});
  write_all(path, file.head("y", kOutputs).bytes());
}

// ---- the test ----------------------------------------------------------------------------------------------------------

struct Container {
  std::string name;
  std::function<void(const Folder&, const std::string& path)> write;
  bool onnx = false;
};

Container of(const std::string& name, const std::function<std::string()>& bytes) {
  return {name, [bytes](const Folder&, const std::string& path) { write_all(path, bytes()); }};
}

const std::vector<Container>& containers() {
  static const std::vector<Container> kAll{
      of("Zip", [] { return zip_bytes(arrays(), "FloatStorage", false, false); }),
      of("ZipOfBf16", [] { return zip_bytes(arrays(true), "BFloat16Storage", false, false); }),
      of("DeflatedZip", [] { return zip_bytes(arrays(), "FloatStorage", true, false); }),
      of("TorchScript", [] { return zip_bytes(arrays(), "FloatStorage", false, true); }),
      of("Legacy", [] { return legacy_bytes(arrays()); }),
      of("Tar", [] { return tar_bytes(arrays()); }),
      of("BarePickle", [] { return bare_bytes(arrays()); }),
      of("Npz", [] { return npz_bytes(arrays()); }),
      of("Safetensors", [] { return safetensors_bytes(arrays(), "F32"); }),
      of("SafetensorsOfBf16", [] { return safetensors_bytes(arrays(true), "BF16"); }),
      {"Shards", write_shards},
      {"OnnxWithExternalData", write_external, true},
      {"Onnx", [](const Folder&, const std::string& path) { save_onnx(network(), path, 1); }, true},
  };
  return kAll;
}

class ReadingMemory : public ::testing::TestWithParam<size_t> {};

TEST_P(ReadingMemory, IsAtMostParametersFileAndAConstant) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer's own memory would be counted";
#endif
  const Container& kind = containers()[GetParam()];
  const Folder folder;
  const std::string path = folder / "net";
  ASSERT_EQ(in_child([&] {
              kind.write(folder, path);
              return int64_t{0};
            }),
            0);
  int64_t file_bytes = 0;
  for (const std::string& name : folder.names()) file_bytes += static_cast<int64_t>(std::filesystem::file_size(folder / name));
  ASSERT_GT(file_bytes, int64_t{20} << 20);
  const int64_t peak = in_child([&] {
    const int64_t before = status_bytes("VmRSS");
    const Model model = kind.onnx ? import_onnx(path, {}, host_resource()).model
                                  : import_weights(WeightsFile::open(path), {}, host_resource()).model;
    return status_bytes("VmHWM") - before;
  });
  int64_t parameter_bytes = kind.name == "OnnxWithExternalData" ? kOutputs * (kInputs + 3) * 4 : 0;
  if (parameter_bytes == 0) {
    for (const auto& [name, tensor] : network().parameters) parameter_bytes += static_cast<int64_t>(tensor->f32().size_bytes());
  }
  EXPECT_GT(peak, parameter_bytes / 2) << "nothing was read";
  EXPECT_LE(peak, parameter_bytes + file_bytes + kConstant)
      << "parameters " << parameter_bytes << ", file " << file_bytes << ", over by " << peak - parameter_bytes - file_bytes;
  RecordProperty("over_bytes", std::to_string(peak - parameter_bytes - file_bytes));
}

INSTANTIATE_TEST_SUITE_P(Files, ReadingMemory, ::testing::Range(size_t{0}, containers().size()),
                         [](const auto& each) { return containers()[each.param].name; });

}  // namespace
}  // namespace elek::test
