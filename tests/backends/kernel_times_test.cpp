// SPDX-License-Identifier: Apache-2.0
// Kernels chosen by measured times: only times decide, they are stored and found again, damaged files are ignored, and every
// choice computes the same. The tests do not ask which kernel is the fastest.
#include "backends/cpu/kernel_times.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "backends/cpu/lower.h"
#include "core/runtime.h"
#include "elek/session.h"
#include "engine/estimate.h"
#include "plan/program.h"
#include "tests/golden/session_support.h"
#include "tests/support/compare.h"

namespace elek::backends::cpu {
namespace {

constexpr double kTolerance = 2e-5;  // of the largest logit: the project's bound for whole networks

class KernelTimesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "/elek_kernel_times_" + std::to_string(getpid()) + "_" +
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    setenv("ELEK_CACHE_DIR", folder_.c_str(), 1);
  }
  void TearDown() override {
    unsetenv("ELEK_CACHE_DIR");
    std::filesystem::remove_all(folder_);
  }
  [[nodiscard]] std::string plans() const { return folder_ + "/plans"; }
  [[nodiscard]] std::vector<std::filesystem::path> files() const {
    std::vector<std::filesystem::path> found;
    if (!std::filesystem::exists(plans())) return found;
    for (const auto& file : std::filesystem::directory_iterator(plans())) found.push_back(file.path());
    std::sort(found.begin(), found.end());
    return found;
  }
  std::string folder_;
};

SessionOptions options_of(KernelChoice kernels) {
  SessionOptions options;
  options.batch = 4;
  options.threads = 1;
  options.kernels = kernels;
  return options;
}

/// The keys of the times of a session's convolutions.
std::set<std::string> keys_of(const Model& model, const SessionOptions& options) {
  KernelTimes none{std::string()};
  const FusedGraph fused = fuse(model.graph);
  Lowerer lowerer(model, fused, options, {&none, {}});
  lowerer.lower();
  std::set<std::string> keys;
  for (const Step& step : lowerer.notes.steps) {
    if (!step.times_key.empty()) keys.insert(step.times_key);
  }
  return keys;
}

ConvTimes times_with(ConvAlgorithm fastest) {
  ConvTimes times;
  for (const ConvAlgorithm kernel : kConvAlgorithms) times.set(kernel, kernel == fastest ? 1 : 100);
  return times;
}

std::vector<std::string> kernels_of(const Session& session) {
  std::vector<std::string> names;
  for (const ProgramStep& step : session.program().steps) names.push_back(step.kernel);
  return names;
}

TEST_F(KernelTimesTest, TheFastestWinsUnlessTheUsualIsAsFastButForNoise) {
  ConvTimes times;
  times.set(ConvAlgorithm::kWinograd4, 100);
  times.set(ConvAlgorithm::kDirect, 98);
  EXPECT_EQ(times.winner(ConvAlgorithm::kWinograd4), ConvAlgorithm::kWinograd4);
  times.set(ConvAlgorithm::kDirect, 96);
  EXPECT_EQ(times.winner(ConvAlgorithm::kWinograd4), ConvAlgorithm::kDirect);
  times.set(ConvAlgorithm::kLibrary, 95.5);  // between two others no margin is needed: the faster one wins
  EXPECT_EQ(times.winner(ConvAlgorithm::kWinograd4), ConvAlgorithm::kLibrary);
  EXPECT_EQ(times.winner(ConvAlgorithm::kWinograd2), ConvAlgorithm::kLibrary) << "the usual one could not be timed";
  EXPECT_EQ(times.text(), "oneDNN 95.5 us, direct 96.0 us, winograd F(4x4) 100.0 us");
  EXPECT_EQ(ConvTimes{}.winner(ConvAlgorithm::kDirect), ConvAlgorithm::kDirect);
}

TEST_F(KernelTimesTest, AreKeptOnDiskAndNothingElseIsTakenForThem) {
  const ConvTimes times = times_with(ConvAlgorithm::kDirect);
  KernelTimes(plans()).add("key", times);
  KernelTimes other(plans());
  ASSERT_NE(other.find("key"), nullptr);
  EXPECT_EQ(*other.find("key"), times);
  EXPECT_EQ(other.find("another key"), nullptr);
  const backends::PlanCache cache(plans());
  for (const std::vector<uint8_t>& plan : {std::vector<uint8_t>{}, std::vector<uint8_t>(31, 1), std::vector<uint8_t>(32, 0xff),
                                           std::vector<uint8_t>(32, 0)}) {  // cut short, NaN, nothing timed
    ASSERT_TRUE(cache.store("odd", {"direct", 1.0, plan}));
    EXPECT_EQ(KernelTimes(plans()).find("odd"), nullptr);
  }
}

TEST_F(KernelTimesTest, PlantedTimesDecideAndEveryChoiceComputesTheSame) {
  for (const auto& tiny : {test::TinyOptions{}, test::TinyOptions{.max_pool = true, .input = {1, 23, 17}}}) {
    const Model model = test::tiny_resnet(tiny);
    const auto pixels = test::tiny_pixels(tiny.input, 7, 5);
    const auto want = test::run_reference(model, pixels, 7).logits();
    for (const bool watched : {false, true}) {
      SessionOptions options = options_of(KernelChoice::kMeasured);
      if (watched) {
        for (const std::string& name : test::stored_names(model)) options.probes.values[name] = kActivity;
      }
      for (const ConvAlgorithm fastest : kConvAlgorithms) {
        if (fastest == ConvAlgorithm::kLibrary && !library_is_built_in()) continue;
        std::filesystem::remove_all(folder_);
        const std::set<std::string> keys = keys_of(model, options);
        ASSERT_GT(keys.size(), 3U);
        KernelTimes planted(plans());
        for (const std::string& key : keys) planted.add(key, times_with(fastest));
        const auto before = files();
        Session session(model, options);
        EXPECT_EQ(files(), before) << "something was timed although all was known";
        int64_t decided = 0;  // counts layers where the fastest kernel fits
        for (const ProgramStep& step : session.program().steps) {
          if (step.choice.empty()) continue;
          EXPECT_EQ(step.choice.find("timed: " + std::string(name_of(fastest)) + " 1.0 us"), 0U) << step.choice;
          decided += step.kernel.starts_with(name_of(fastest)) ? 1 : 0;
        }
        EXPECT_GT(decided, 0) << name_of(fastest);
        const auto m = test::compare(test::run_all(session, pixels, 7, 4), want, kTolerance * test::largest(want));
        EXPECT_EQ(m.count, 0) << name_of(fastest) << (watched ? ", watched: " : ": ") << m.message();
      }
    }
  }
}

TEST_F(KernelTimesTest, WhatIsMissingIsTimedOnceAndCorruptFilesAreWrittenAnew) {
  const Model model = test::tiny_resnet({});
  const SessionOptions options = options_of(KernelChoice::kMeasured);
  const std::set<std::string> keys = keys_of(model, options);
  const std::vector<std::string> first = kernels_of(Session(model, options));
  const auto written = files();
  ASSERT_EQ(written.size(), keys.size());
  for (const auto& file : written) EXPECT_EQ(file.extension(), ".plan") << "left behind: " << file;
  EXPECT_EQ(kernels_of(Session(model, options)), first) << "the second session reads what the first one kept";
  for (const auto& file : written) std::ofstream(file, std::ios::binary | std::ios::trunc) << "elekplan, but not really";
  for (const std::string& key : keys) EXPECT_EQ(KernelTimes(plans()).find(key), nullptr);
  const Session again(model, options);
  EXPECT_EQ(files(), written);
  for (const std::string& key : keys) {
    KernelTimes times(plans());
    const ConvTimes* found = times.find(key);
    ASSERT_NE(found, nullptr) << key;
    EXPECT_GT(found->of(ConvAlgorithm::kDirect), 0) << key;
    EXPECT_EQ(found->of(ConvAlgorithm::kLibrary) > 0, library_is_built_in()) << key;
  }
}

TEST_F(KernelTimesTest, NothingIsTimedWhereResultsMustRepeatOrOnlyBytesAreAsked) {
  const Model model = test::tiny_resnet({});
  SessionOptions options = options_of(KernelChoice::kRule);
  const std::vector<std::string> by_rule = kernels_of(Session(model, options));
  options.kernels = KernelChoice::kMeasured;
  (void)estimate_memory(model, options);
  options.kernels = KernelChoice::kRemembered;
  EXPECT_EQ(kernels_of(Session(model, options)), by_rule);
  EXPECT_TRUE(files().empty());
  KernelTimes planted(plans());
  for (const std::string& key : keys_of(model, options)) planted.add(key, times_with(ConvAlgorithm::kDirect));
  EXPECT_NE(kernels_of(Session(model, options)), by_rule) << "what was timed before is remembered";
  for (SessionOptions strict : {options, options, options}) {
    static int turn = 0;
    strict.kernels = KernelChoice::kMeasured;
    if (turn == 0) strict.deterministic = true;
    if (turn == 1) strict.winograd = Winograd::k2x2;
    if (turn == 2) strict.kernels = KernelChoice::kRule;
    const Session session(model, strict);
    for (const ProgramStep& step : session.program().steps) EXPECT_EQ(step.choice, "") << turn;
    ++turn;
  }
}

/// Times of kernels with other sources have another key, so they are not used.
TEST_F(KernelTimesTest, TimesOfOtherSourcesNeverChoose) {
  const Model model = test::tiny_resnet({});
  const SessionOptions options = options_of(KernelChoice::kRemembered);
  const std::vector<std::string> by_rule = kernels_of(Session(model, options));
  KernelTimes planted(plans());
  for (std::string key : keys_of(model, options)) {
    const std::string before = ", kernels ";
    const size_t at = key.find(before);
    ASSERT_NE(at, std::string::npos) << key;
    const std::string hash = key.substr(at + before.size(), 17);
    EXPECT_EQ(hash.find_first_not_of("0123456789abcdef"), 16U) << key;
    planted.add(key.replace(at + before.size(), 16, "0123456789abcdef"), times_with(ConvAlgorithm::kLibrary));
  }
  EXPECT_FALSE(files().empty());
  const Session session(model, options);
  EXPECT_EQ(kernels_of(session), by_rule);
  for (const ProgramStep& step : session.program().steps) EXPECT_EQ(step.choice, "");
}

TEST_F(KernelTimesTest, TimingGivesItsMemoryBackAndLeavesOutWhatFindsNoRoom) {
  if (!library_has_kernels()) GTEST_SKIP() << "our direct kernel needs as much room as Winograd; oneDNN's needs less";
  const Model model = test::tiny_resnet({});
  SessionOptions options = options_of(KernelChoice::kRule);
  options.winograd = Winograd::kOff;
  Tracker smallest(host_resource());
  options.memory = &smallest;
  { const Session session(model, options); }
  options.winograd = Winograd::kAuto;
  options.kernels = KernelChoice::kMeasured;
  Tracker tracker(host_resource());
  Limit limit(tracker, smallest.figures().peak_bytes);  // Winograd's larger weights do not fit
  options.memory = &limit;
  const Session session(model, options);
  const SessionMemory memory = session.memory();
  EXPECT_LE(tracker.figures().live_bytes, smallest.figures().peak_bytes);
  EXPECT_GE(tracker.figures().live_bytes, memory.weights_bytes + memory.arena_bytes);
  for (const ProgramStep& step : session.program().steps) EXPECT_FALSE(step.kernel.starts_with("winograd")) << step.kernel;
}

TEST_F(KernelTimesTest, AFolderThatCannotBeWrittenIsOneWarningAndNoFailure) {
  std::ofstream(folder_) << "a file where the folder should be";
  const Model model = test::tiny_resnet({});
  const int64_t before = warnings_so_far();
  for (int i = 0; i < 2; ++i) {
    const Session session(model, options_of(KernelChoice::kMeasured));
    EXPECT_GT(session.memory().weights_bytes, 0U);
  }
  EXPECT_LE(warnings_so_far() - before, 1);  // one a process, which an earlier test may have had
}

}  // namespace
}  // namespace elek::backends::cpu
