// SPDX-License-Identifier: Apache-2.0
// Traces, placements, the course and elek watch, as a user runs them.
#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "tests/cli/command.h"

namespace elek::test {
namespace {

using ::testing::HasSubstr;

TEST(TraceCommand, ALifetimeTableComesBackAsTheSameTrace) {
  const Folder folder;
  const std::string table = folder / "t.csv", events = folder / "t.jsonl";
  const auto planned = elek_command({"memory", "--arch", "resnet18", "--teaching", "--write-trace", table, "--lab", "--json"});
  EXPECT_EQ(planned.exit_code, 2) << "the lab belongs to real bytes";
  const auto json = elek_command({"memory", "--arch", "resnet18", "--teaching", "--write-trace", table, "--json"}).json();
  const auto again = elek_command({"memory", "--replay", table, "--lab", "--json"}).json();
  EXPECT_EQ(again.at("lab").at(0).at("rows").at(6).at("strategy"), "arena");
  EXPECT_EQ(again.at("lab").at(0).at("rows").at(6).at("reserved_bytes"), json.at("arena_bytes"));
  ASSERT_EQ(elek_command({"memory", "--replay", table, "--write-trace", events}).exit_code, 0);
  const auto third = elek_command({"memory", "--replay", events, "--lab", "--json"}).json();
  EXPECT_EQ(third.at("lab").at(0).at("rows").at(0).at("peak_bytes"), json.at("lower_bound_bytes"));
}

/// What a session asked for is in the trace: as many bytes as it says it holds.
TEST(TraceCommand, ARecordedSessionReplays) {
  const Folder folder;
  const std::string model = tiny_model(folder), trace = folder / "t.jsonl";
  const auto json = elek_command({"memory", "--model", model, "--threads", "2", "--trace", trace, "--json"}).json();
  const auto replayed = elek_command({"memory", "--replay", trace, "--lab", "--json"}).json().at("lab").at(0);
  EXPECT_EQ(replayed.at("events"), json.at("events"));
  const auto peak = replayed.at("rows").at(0).at("peak_bytes").get<double>();
  const auto held = json.at("session_bytes").get<double>() + json.at("ledger").at("peak").at("model_bytes").get<double>();
  EXPECT_GE(peak, held);
  EXPECT_LT(peak, 1.05 * (held + json.at("packing_bytes").get<double>()) + 256.0 * json.at("events").get<double>());
  for (const char* name : {"t.pickle", "t.json"}) {
    EXPECT_EQ(elek_command({"memory", "--model", model, "--trace", folder / name}).exit_code, 0) << name;
  }
  EXPECT_EQ(elek_command({"memory", "--arch", "resnet18", "--trace", trace}).exit_code, 2) << "no weights, nothing to run";
  EXPECT_EQ(elek_command({"memory", "--replay", folder / "none.csv"}).exit_code, 3);
  EXPECT_EQ(elek_command({"memory", "--replay", model}).exit_code, 2);
}

/// A cut and a training record every block of theirs: at the peak, what the ledger counts.
TEST(TraceCommand, ACutAndATrainingRecord) {
  const Folder folder;
  const std::string model = tiny_model(folder), small = folder / "small.safetensors", trace = folder / "t.jsonl";
  const auto recorded_peak = [&](const Outcome& outcome) {
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    const auto at_peak = outcome.json().at("ledger").at("peak");
    double held = 0;  // by tensors, when the process was largest
    for (const char* what :
         {"model", "weights", "activations", "workspace", "statistics", "staging", "moments", "kept", "other"}) {
      held += at_peak.at(std::string(what) + "_bytes").get<double>();
    }
    const auto replayed = elek_command({"memory", "--replay", trace, "--lab", "--json"}).json().at("lab").at(0);
    const auto peak = replayed.at("rows").at(0).at("peak_bytes").get<double>();
    EXPECT_GT(held, 1e5);
    EXPECT_GE(peak, held);
    EXPECT_LT(peak, 1.25 * held);
  };
  const std::vector<std::string> data{"--batch", "20", "--trace", trace, "--json", "--threads", "1"};
  std::vector<std::string> cut{"coverage",   "--model",        model,   "--calibrate", "synthetic:60:1",
                               "--evaluate", "synthetic:20:2", "--out", small};
  cut.insert(cut.end(), data.begin(), data.end());
  recorded_peak(elek_command(cut));
  std::vector<std::string> tune{"tune",
                                "--model",
                                small,
                                "--teacher",
                                model,
                                "--data",
                                "synthetic:60:1",
                                "--passes",
                                "2",
                                "--out",
                                folder / "tuned.safetensors"};
  tune.insert(tune.end(), data.begin(), data.end());
  recorded_peak(elek_command(tune));
  std::ranges::replace(cut, trace, folder / "t.txt");
  EXPECT_EQ(elek_command(cut).exit_code, 2) << "no such form of a trace";
}

TEST(TraceCommand, APlacementByHandIsScored) {
  const Folder folder;
  const std::string trace = folder / "t.csv", good = folder / "good.csv", bad = folder / "bad.csv";
  std::ofstream(trace) << "name,bytes,first,last\na,3000,1,1\nb,2000,1,2\nc,3000,2,2\n";
  std::ofstream(good) << "block,offset\na,0\nb,3072\nc,0\n";
  std::ofstream(bad) << "block,offset\na,0\nb,1024\nc,0\n";
  const auto json =
      elek_command({"memory", "--replay", trace, "--placement", good, "--html", folder / "p.html", "--json"}).json();
  EXPECT_TRUE(json.at("placement").at("valid").get<bool>());
  EXPECT_EQ(json.at("placement").at("reserved_bytes"), 5120);
  EXPECT_EQ(json.at("placement").at("beside").at("arena"), 5120);
  EXPECT_THAT(read_text(folder / "p.html"), HasSubstr("Your placement"));
  const Outcome wrong = elek_command({"memory", "--replay", trace, "--placement", bad});
  EXPECT_THAT(wrong.out, HasSubstr("'b' (1024 to 3072) overlaps 'a' (0 to 3072), and both are alive at step 1"));
}

/// The same bytes with other instructions and other numbers of threads.
TEST(TraceCommand, TeachingGivesTheSameBytesEverywhere) {
  const auto bytes = [](const std::vector<std::string>& more, const std::string& isa) {
    std::vector<std::string> words{"memory", "--arch", "resnet50", "--teaching", "--batch", "3", "--steps", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    setenv("ONEDNN_MAX_CPU_ISA", isa.c_str(), 1);
    setenv("DNNL_MAX_CPU_ISA", isa.c_str(), 1);
    auto json = elek_command(words).json();
    unsetenv("ONEDNN_MAX_CPU_ISA");
    unsetenv("DNNL_MAX_CPU_ISA");
    json.erase("ledger");
    return json;
  };
  const auto here = bytes({}, "DEFAULT");
  EXPECT_EQ(here, bytes({"--threads", "1"}, "DEFAULT"));
  EXPECT_EQ(here, bytes({"--threads", "7"}, "AVX2"));
  // By hand: layer2's first block has its input, conv2 and conv3 alive; 3 images of 4 bytes.
  EXPECT_EQ(here.at("arena_bytes"), 3 * 4 * (256 * 56 * 56 + 128 * 28 * 28 + 512 * 28 * 28));
}

TEST(TraceCommand, TheCourseChecksAnswers) {
  EXPECT_EQ(elek_command({"memory", "--check", "1.1", "7"}).exit_code, 0);
  const Outcome wrong = elek_command({"memory", "--check", "1.1", "8"});
  EXPECT_EQ(wrong.exit_code, 3);
  EXPECT_THAT(wrong.err, HasSubstr("not yet"));
  EXPECT_EQ(elek_command({"memory", "--check", "9.9", "8"}).exit_code, 2);
  EXPECT_EQ(elek_command({"memory", "--check", "1.1"}).exit_code, 2);
}

/// Hooks that store grow with the images, the others do not; all see the same values.
TEST(TraceCommand, WatchComparesThreeWays) {
  const Folder folder;
  const std::string model = tiny_model(folder), plot = folder / "w.svg";
  const auto json =
      elek_command({"watch", "--model", model, "--data", "synthetic:40", "--batch", "10", "--plot", plot, "--json"}).json();
  const auto& batches = json.at("batches");
  ASSERT_EQ(batches.size(), 4U);
  EXPECT_EQ(batches.at(3).at("store_bytes").get<int64_t>(), 4 * batches.at(0).at("store_bytes").get<int64_t>());
  EXPECT_EQ(batches.at(3).at("sums_bytes"), batches.at(0).at("sums_bytes"));
  EXPECT_EQ(batches.at(3).at("elek_bytes"), batches.at(0).at("elek_bytes"));
  EXPECT_LT(json.at("largest_difference").get<double>(), 1e-4) << "f32 values, sums in double";
  EXPECT_THAT(read_text(plot), HasSubstr("hooks that store"));
  const Outcome full =
      elek_command({"watch", "--model", model, "--data", "synthetic:40", "--batch", "10", "--store-limit", "1kB"});
  EXPECT_THAT(full.out, HasSubstr("in batch 1"));
  EXPECT_EQ(elek_command({"watch", "--model", model, "--data", "synthetic:40", "--plot", folder / "w.png"}).exit_code, 2);
}

}  // namespace
}  // namespace elek::test
