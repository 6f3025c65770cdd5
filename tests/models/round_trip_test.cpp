// SPDX-License-Identifier: Apache-2.0
// Every network of the fixtures: imported, saved, loaded, written as ONNX and imported again, it is the same network: the same
// graph and the same bits in all parameters, so also the same logits. Pruned, repaired and masked ones:
// tests/cli/prepare_onnx_test.cpp.
#include <filesystem>

#include "models/model_file.h"
#include "models/onnx/import.h"
#include "tests/models/import_files.h"

namespace elek {
namespace {

using test::Folder;

std::vector<std::string> networks(const std::string& kind, const std::string& extension) {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(ELEK_TEST_DATA) + "/" + kind)) {
    if (entry.path().extension() == extension && entry.path().stem() != "answers") paths.push_back(entry.path().string());
  }
  return paths;
}

void expect_kept(const Model& model) {
  const Folder folder;
  save_model(model, folder / "m.safetensors");
  const Model loaded = load_model(folder / "m.safetensors", host_resource());
  EXPECT_EQ(hash(loaded), hash(model));
  save_onnx(loaded, folder / "m.onnx", 0);
  const Imported back = import_onnx(folder / "m.onnx", {}, host_resource());
  EXPECT_EQ(hash(back.model), hash(model));
  EXPECT_EQ(back.model.preprocessing.mean, model.preprocessing.mean);
  EXPECT_EQ(back.model.preprocessing.stddev, model.preprocessing.stddev);
}

TEST(RoundTrip, EveryWeightsFile) {
  const std::vector<std::string> paths = networks("import", ".safetensors");
  ASSERT_GT(paths.size(), 15U);
  for (const std::string& path : paths) {
    SCOPED_TRACE(path);
    expect_kept(import_weights(WeightsFile::open(path), test::options_for(32), host_resource()).model);
  }
}

TEST(RoundTrip, EveryOnnxFile) {
  const std::vector<std::string> paths = networks("onnx", ".onnx");
  ASSERT_GT(paths.size(), 10U);
  for (const std::string& path : paths) {
    SCOPED_TRACE(path);
    expect_kept(import_onnx(path, {}, host_resource()).model);
  }
}

}  // namespace
}  // namespace elek
