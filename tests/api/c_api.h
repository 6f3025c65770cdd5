// SPDX-License-Identifier: Apache-2.0
// Shared by the tests of the C interface: a small model file, handles that free themselves, a caller's allocator that fails on
// demand.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "elek/c.h"
#include "models/model_file.h"
#include "tests/support/models.h"

namespace elek::test {

/// A saved model of 3x12x10 images, 10 classes with names; removed at the end of the test.
class ModelFile {
 public:
  explicit ModelFile(const TinyOptions& options = {}) : model_(tiny_resnet(options)) {
    static int made = 0;
    path_ = (std::filesystem::temp_directory_path() /
             ("elek-api-" + std::to_string(::getpid()) + "-" + std::to_string(made++) + ".safetensors"))
                .string();
    model_.labels.clear();
    for (int64_t c = 0; c < options.classes; ++c) model_.labels.push_back("class-" + std::to_string(c));
    save_model(model_, path_);
  }
  ModelFile(const ModelFile&) = delete;
  ModelFile& operator=(const ModelFile&) = delete;
  ~ModelFile() { std::filesystem::remove(path_); }
  [[nodiscard]] const char* path() const { return path_.c_str(); }
  [[nodiscard]] const Model& model() const { return model_; }

 private:
  Model model_;
  std::string path_;
};

struct FreeModel {
  void operator()(elek_model* model) const { elek_model_free(model); }
};
struct CloseSession {
  void operator()(elek_session* session) const { elek_session_close(session); }
};
using ModelHandle = std::unique_ptr<elek_model, FreeModel>;
using SessionHandle = std::unique_ptr<elek_session, CloseSession>;

inline ModelHandle load(const char* path) {
  elek_model* model = nullptr;
  EXPECT_EQ(elek_model_load(path, &model), ELEK_OK) << elek_last_error(nullptr);
  return ModelHandle(model);
}

inline SessionHandle open(const elek_model* model, const elek_options& options) {
  elek_session* session = nullptr;
  EXPECT_EQ(elek_session_open(model, &options, &session), ELEK_OK) << elek_last_error(nullptr);
  return SessionHandle(session);
}

/// A caller's allocator that counts; if told to, it fails from the k-th call on.
class Books {
 public:
  int64_t fail_at = -1;  // never
  int64_t asked = 0;
  int64_t misuses = 0;  // blocks given back that were never allocated, or with another size
  size_t offset = 0;    // added to every address; not 0: breaks the alignment
  std::vector<std::string> labels;

  void use(elek_options& options) {
    options.allocate = [](void* context, size_t bytes, size_t alignment, const char* label) {
      return static_cast<Books*>(context)->allocate(bytes, alignment, label);
    };
    options.deallocate = [](void* context, void* block, size_t bytes) {
      static_cast<Books*>(context)->deallocate(block, bytes);
    };
    options.memory_context = this;
  }
  [[nodiscard]] size_t blocks() const { return blocks_.size(); }
  [[nodiscard]] size_t bytes() const {
    size_t all = 0;
    for (const auto& [block, bytes] : blocks_) all += bytes;
    return all;
  }

 private:
  void* allocate(size_t bytes, size_t alignment, const char* label) {
    if (fail_at >= 0 && asked >= fail_at) {
      ++asked;
      return nullptr;
    }
    ++asked;
    labels.emplace_back(label);
    auto* const block = static_cast<char*>(std::aligned_alloc(alignment, (bytes + 2 * alignment) / alignment * alignment));
    blocks_[block + offset] = bytes;
    return block + offset;
  }
  void deallocate(void* block, size_t bytes) {
    const auto found = blocks_.find(static_cast<char*>(block));
    if (found == blocks_.end() || found->second != bytes) {
      ++misuses;
      return;
    }
    std::free(found->first - offset);
    blocks_.erase(found);
  }
  std::map<char*, size_t> blocks_;
};

}  // namespace elek::test
