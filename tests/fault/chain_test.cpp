// SPDX-License-Identifier: Apache-2.0
// Lets the k-th allocation fail, for every k in load, lower, bind, run, collect, prune, repair and save. Each time OutOfMemory
// must be thrown, nothing may stay allocated, the file and the loaded model must be unchanged, and the next run must give the
// same bytes. One chain for each kind of repair, and two that choose by the refit's costs (the command's default), with and
// without activations kept between passes. The network has a few channels, so thousands of runs take seconds.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "elek/prune.h"
#include "elek/session.h"
#include "models/model_file.h"
#include "tests/prune/array_source.h"
#include "tests/support/faulty.h"
#include "tests/support/models.h"

namespace elek {
namespace {

constexpr int64_t kSamples = 5, kBatch = 3;  // a full batch and a partial one

std::string contents(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

/// The results of a chain that a user can see.
struct Result {
  std::vector<float> logits;
  std::string saved;
  friend bool operator==(const Result&, const Result&) = default;
};

struct Kind {
  Repair repair;
  bool by_refit_costs = false;
  bool keeps_activations = false;  // between the passes of a refit
};
std::string name_of(const Kind& kind) {
  return elek::name_of(kind.repair) + (kind.by_refit_costs ? "_ChosenByIt" : "") + (kind.keeps_activations ? "_Keeping" : "");
}

class Chain : public ::testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("elek-fault-" + name_of(GetParam()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    test::TinyOptions tiny;
    tiny.widths = {6, 8};
    tiny.blocks = 1;
    tiny.input = {3, 8, 8};
    tiny.classes = 4;
    const Model model = test::tiny_resnet(tiny);
    pixels_ = test::tiny_pixels(model.graph.input_shape(), kSamples, 3);
    save_model(model, in());
    dense_bytes_ = contents(in());
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  [[nodiscard]] std::string in() const { return (folder_ / "dense.safetensors").string(); }
  [[nodiscard]] std::string out() const { return (folder_ / "pruned.safetensors").string(); }

  /// All steps of `elek coverage` except measuring accuracy, with this memory.
  [[nodiscard]] Result run(MemoryResource& memory) const {
    Result result;
    const Model dense = load_model(in(), memory);
    SessionOptions options;
    options.batch = kBatch;
    options.threads = 1;
    options.memory = &memory;
    test::ArraySource source(pixels_, kSamples);
    {
      Session session(dense, options);
      for_each_batch(session, source, 0, {}, [&](const Slot&, std::span<const float> logits) {
        result.logits.insert(result.logits.end(), logits.begin(), logits.end());
      });
    }
    const uint64_t before = hash(dense);
    CutOptions how;
    how.criterion = &find_criterion(GetParam().by_refit_costs ? "refit" : "std-consumer");
    how.repair = GetParam().repair;
    how.session = options;
    how.memory = &memory;
    CutObserver nobody;
    const Model pruned = cut(dense, source, nullptr, how, nobody).model;
    EXPECT_EQ(hash(dense), before) << "the dense model is shared, never changed";
    save_model(pruned, out());
    result.saved = contents(out());
    return result;
  }

  std::filesystem::path folder_;
  std::vector<uint8_t> pixels_;
  std::string dense_bytes_;
};

TEST_P(Chain, SurvivesEveryAllocationThatFails) {
  Result want;
  {
    test::Faulty memory;
    want = run(memory);
    ASSERT_EQ(memory.in_use_bytes(), 0U) << memory.leaks();
    ASSERT_FALSE(want.logits.empty());
  }
  int64_t k = 0;
  for (;; ++k) {
    std::filesystem::remove(out());
    test::Faulty memory;
    memory.fail_at(k);
    bool finished = false;
    try {
      EXPECT_EQ(run(memory), want) << "k " << k;
      finished = true;
    } catch (const OutOfMemory& error) {
      EXPECT_NE(std::string(error.what()).find("injected failure of '"), std::string::npos)
          << "k " << k << ": which tensor? " << error.what();
    } catch (const std::exception& error) {
      FAIL() << "k " << k << ": " << error.what();
    }
    ASSERT_EQ(memory.in_use_bytes(), 0U) << "k " << k << ": " << memory.leaks();
    ASSERT_TRUE(memory.misuse().empty()) << "k " << k << ": " << memory.misuse().front();
    if (finished && memory.failures() == 0) break;  // no failure left to inject: every k was covered
    ASSERT_EQ(contents(in()), dense_bytes_) << "k " << k;
    ASSERT_EQ(std::filesystem::exists(out()), finished) << "k " << k << ": half a file is none";
    const auto files = std::distance(std::filesystem::directory_iterator(folder_), std::filesystem::directory_iterator());
    ASSERT_EQ(files, finished ? 2 : 1) << "k " << k << ": a temporary file stayed";
    memory.heal();
    ASSERT_EQ(run(memory), want) << "after k " << k;
    ASSERT_EQ(memory.in_use_bytes(), 0U) << "after k " << k << ": " << memory.leaks();
  }
  EXPECT_GT(k, 60) << "a chain of that many allocations";
  RecordProperty("allocations", std::to_string(k));
}

INSTANTIATE_TEST_SUITE_P(All, Chain,
                         ::testing::Values(Kind{Repair::kNone}, Kind{Repair::kBatchNorm}, Kind{Repair::kRefit},
                                           Kind{Repair::kRefit, true}, Kind{Repair::kRefit, true, true}),
                         [](const auto& kind) { return name_of(kind.param); });

}  // namespace
}  // namespace elek
