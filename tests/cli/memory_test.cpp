// SPDX-License-Identifier: Apache-2.0
// elek memory as a user runs it: the table's figures are those of a real session, the largest batch runs and the next one does
// not, the map is written, and the lessons that must fail do fail.
#include <algorithm>
#include <cstdlib>
#include <set>

#include "elek/model.h"
#include "models/model_file.h"
#include "tests/cli/command.h"

namespace elek::test {
namespace {

TEST(MemoryCommand, FiguresAreThoseOfTheSession) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const auto memory = elek_command({"memory", "--model", model, "--batch", "7", "--threads", "2", "--json"}).json();
  const auto bench =
      elek_command({"bench", "--model", model, "--batch", "7", "--threads", "2", "--seconds", "0", "--json"}).json();
  for (const char* key : {"arena_bytes", "lower_bound_bytes", "activations_bytes", "workspace_bytes", "weights_bytes",
                          "statistics_bytes", "staging_bytes"}) {
    EXPECT_EQ(memory.at(key), bench.at("memory").at(key)) << key;
  }
  EXPECT_EQ(memory.at("arena_bytes"), memory.at("lower_bound_bytes"));
  EXPECT_GT(memory.at("arena_bytes").get<size_t>(), 0U);
  EXPECT_EQ(memory.at("statistics_bytes"), 0U);
  const auto watched = elek_command({"memory", "--model", model, "--watch", "--json"}).json();
  EXPECT_GT(watched.at("statistics_bytes").get<size_t>(), 0U);
}

TEST(MemoryCommand, TheLargestBatchRunsAndTheNextIsRefused) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  for (const std::string limit : {"4MB", "6.5MB", "12MB"}) {
    const auto solved =
        elek_command({"memory", "--model", model, "--max-batch", "--memory-limit", limit, "--threads", "1", "--json"}).json();
    const auto batch = solved.at("max_batch").get<int64_t>();
    const auto run = [&](int64_t n) {
      return elek_command({"memory", "--model", model, "--batch", std::to_string(n), "--memory-limit", limit, "--threads", "1",
                           "--measure", "--json"});
    };
    EXPECT_EQ(run(batch).exit_code, 0) << "batch " << batch << " under " << limit;
    const Outcome refused = run(batch + 1);
    EXPECT_EQ(refused.exit_code, 4) << "batch " << batch + 1 << " under " << limit;
    EXPECT_THAT(refused.err, ::testing::HasSubstr("the least limit")) << "refused by us, with the plan";
  }
}

/// The proof: the batch that --max-batch finds runs in a process whose address space is limited to that of an idle process plus
/// the limit. elek refuses the next batch. Without elek's limit the system refuses a batch that is far too large.
TEST(MemoryCommand, TheLargestBatchRunsUnderTheSystemsOwnLimit) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const std::string limit_text = "5MB";
  const uint64_t limit = 5'000'000;
  const auto bench = [&](int64_t n, const std::string& memory_limit, const How& how) {
    std::vector<std::string> words{"bench", "--model",   model, "--batch", std::to_string(n), "--micro-batch",
                                   "1",     "--threads", "1",   "--json",  "--seconds",       "0"};
    if (!memory_limit.empty()) words.insert(words.end(), {"--memory-limit", memory_limit});
    return elek_command(words, how);
  };
  const Outcome one = bench(1, limit_text, {});
  ASSERT_EQ(one.exit_code, 0) << one.err;
  const auto idle = one.json().at("address_space_bytes").get<uint64_t>() - one.json().at("pool_bytes").get<uint64_t>();
  const auto solved = elek_command({"memory", "--model", model, "--max-batch", "--memory-limit", limit_text, "--micro-batch",
                                    "1", "--threads", "1", "--json"})
                          .json();
  const auto batch = solved.at("max_batch").get<int64_t>();
  EXPECT_GT(batch, 1000);
  How confined;
  // A session that was refused tries again. It then looks for 512 KiB for oneDNN's code, while malloc's heap keeps what the
  // refused attempt gave back. That heap grows by 132 KiB at a time: for the larger batch, for the refused attempt, and for
  // rounding.
  constexpr uint64_t kSteps = (3 * 132 + 512) << 10;
  confined.address_space_limit = idle + limit + kSteps;
  const Outcome fits = bench(batch, limit_text, confined);
  EXPECT_EQ(fits.exit_code, 0) << "batch " << batch << "\n" << fits.err;
  EXPECT_GT(fits.json().at("pool_bytes").get<uint64_t>(), limit * 9 / 10) << "the limit is used, not just kept";
  const Outcome refused = bench(batch + 1, limit_text, confined);
  EXPECT_EQ(refused.exit_code, 4);
  EXPECT_THAT(refused.err, ::testing::HasSubstr("plan: weights"));
  EXPECT_THAT(refused.err, ::testing::HasSubstr("exceeds the memory limit")) << "by us";
  const Outcome by_system = bench(4 * batch, "", confined);
  EXPECT_EQ(by_system.exit_code, 4);
  EXPECT_THAT(by_system.err, ::testing::HasSubstr("the system has no memory")) << "the system's limit is a real one";
}

/// A partly used segment of the pool must not cause a refusal: slightly more than a tiny network's session needs is enough.
TEST(MemoryCommand, ASmallNetworkRunsUnderASmallLimit) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const auto memory = elek_command({"memory", "--model", model, "--threads", "2", "--json"}).json();
  const size_t needed = memory.at("session_bytes").get<size_t>() +
                        memory.at("ledger").at("peak").at("model_bytes").get<size_t>() +
                        memory.at("packing_bytes").get<size_t>();
  const std::string limit = std::to_string(needed * 21 / 20) + "B";  // and a twentieth for rounding
  const Outcome outcome = elek_command(
      {"bench", "--model", model, "--batch", "1", "--memory-limit", limit, "--threads", "2", "--seconds", "0", "--json"});
  EXPECT_EQ(outcome.exit_code, 0) << limit << "\n" << outcome.err;
}

/// Loading reads the file as a stream: beside the weights themselves, only a little of it is resident at any time.
TEST(MemoryCommand, LoadingResNet152StaysNearItsWeights) {
  const Folder folder;
  const std::string model = folder / "resnet152.safetensors";
  double weights = 0;
  {
    Model made;  // zeros: only bytes are counted
    made.graph = build_resnet(resnet_spec("resnet152"));
    made.preprocessing = default_preprocessing(3);
    for (const ParameterSpec& spec : required_parameters(made.graph)) {
      auto tensor = std::make_shared<Tensor>(spec.shape, DType::kF32, host_resource(), spec.name);
      std::fill(tensor->f32().begin(), tensor->f32().end(), 0.0F);
      made.parameters.emplace(spec.name, std::move(tensor));
    }
    save_model(made, model);
    weights = static_cast<double>(parameter_bytes(made));
  }
  const auto peak = static_cast<double>(elek_command({"memory", "--model", model, "--json"}).peak_resident_bytes);
  EXPECT_GT(weights, 240e6);
  EXPECT_LT(peak, 1.3 * weights);
  EXPECT_GT(peak, weights) << "the figure is of a process that holds them";
}

/// Every command accounts for its bytes, and the account adds up to the system's figure.
TEST(MemoryCommand, EveryCommandCarriesALedger) {
  const Folder folder;
  const std::string model = tiny_model(folder), out = folder / "out.safetensors";
  const auto adds_up = [](const nlohmann::json& account) {
    const auto of = [&](const char* key) { return account.at(key).get<int64_t>(); };
    const int64_t ours = of("model_bytes") + of("weights_bytes") + of("activations_bytes") + of("workspace_bytes") +
                         of("statistics_bytes") + of("staging_bytes") + of("moments_bytes") + of("kept_bytes") +
                         of("other_bytes");
    EXPECT_EQ(ours + of("pool_bytes") - of("untouched_bytes") + of("library_bytes") + of("rest_bytes"), of("resident_bytes"));
    // 16 MB: stacks, thread-local heaps, and the memory of oneDNN and the command for a network this small.
    EXPECT_LT(of("rest_bytes"), 16'000'000) << account;
    for (const auto& [key, value] : account.items()) EXPECT_GE(value.get<int64_t>(), 0) << key;
    return ours;
  };
  const auto eval = elek_command({"eval", "--model", model, "--data", "synthetic:60:1", "--json"}).json();
  const auto info = elek_command({"info", "--model", model, "--json"}).json();
  const auto bench = elek_command({"bench", "--model", model, "--seconds", "0", "--json"}).json();
  const auto cut = elek_command({"coverage", "--metric", "std-consumer", "--model", model, "--calibrate", "synthetic:60:1",
                                 "--evaluate", "synthetic:60:2", "--channels", "0.3", "--repair", "bn", "--out", out, "--json"})
                       .json();
  for (const auto* json : {&eval, &info, &bench, &cut}) {
    const int64_t now = adds_up(json->at("ledger").at("now"));
    EXPECT_EQ(now > 0, json != &eval) << now;  // eval gave its model to a session, which has ended
    EXPECT_GT(json->at("ledger").at("peak").at("model_bytes").get<int64_t>(), 0);
  }
  EXPECT_EQ(bench.at("ledger").at("now").at("weights_bytes"), bench.at("memory").at("weights_bytes"));
  EXPECT_EQ(bench.at("ledger").at("now").at("staging_bytes"), bench.at("memory").at("staging_bytes"));
  EXPECT_EQ(bench.at("ledger").at("now").at("activations_bytes").get<int64_t>() +
                bench.at("ledger").at("now").at("workspace_bytes").get<int64_t>(),
            bench.at("memory").at("arena_bytes").get<int64_t>());
  std::set<std::string> phases;
  for (const auto& phase : cut.at("phases")) {
    phases.insert(phase.at("name").get<std::string>());
    adds_up(phase.at("ledger").at("before"));
    adds_up(phase.at("ledger").at("after"));
    if (phase.at("name") == "collection") {
      EXPECT_GT(phase.at("ledger").at("peak").at("statistics_bytes").get<int64_t>(), 0);
      EXPECT_EQ(phase.at("ledger").at("after").at("statistics_bytes"), 0);
    }
  }
  for (const char* name : {"load", "inference", "collection", "scoring", "pruning", "repair"})
    EXPECT_TRUE(phases.contains(name)) << name;
}

/// Memory that is reserved but was never written is not counted as held: a batch of 64 places, of which two are used.
TEST(MemoryCommand, NoRowOfTheLedgerIsNegative) {
  const Folder folder;
  const std::string model = folder / "net.safetensors";
  ASSERT_EQ(elek_command({"prepare", "--arch", "resnet18", "--random", "1", "--out", model, "--quiet"}).exit_code, 0);
  const Outcome eval = elek_command({"eval", "--model", model, "--data", "synthetic:2", "--batch", "64", "--json"});
  ASSERT_EQ(eval.exit_code, 0) << eval.err;
  const auto json = eval.json();
  EXPECT_GT(json.at("ledger").at("peak").at("untouched_bytes").get<int64_t>(), 9'000'000) << "slots for 64 images: two in use";
  EXPECT_GT(json.at("ledger").at("peak").at("library_and_rest_bytes").get<int64_t>(), 0);
  for (const auto& phase : json.at("phases")) {
    EXPECT_GT(phase.at("ledger").at("peak").at("library_and_rest_bytes").get<int64_t>(), 0) << phase;
  }
  const Outcome text = elek_command({"eval", "--model", model, "--data", "synthetic:2", "--batch", "64"});
  EXPECT_THAT(text.out, ::testing::Not(::testing::ContainsRegex(" -[0-9]"))) << text.out;
  const Outcome measured = elek_command({"memory", "--model", model, "--batch", "4", "--measure"});
  EXPECT_THAT(measured.out, ::testing::Not(::testing::ContainsRegex(" -[0-9]"))) << measured.out;
}

/// A process that watches from outside sees the reported peak, which is that of the largest phase. In no phase are there
/// tensors without a name.
TEST(MemoryCommand, PeaksAreThoseThatOutsidersSee) {
  const Folder folder;
  const Outcome cut = elek_command({"coverage", "--metric", "std-consumer", "--model", tiny_model(folder), "--calibrate",
                                    "synthetic:1000:1", "--evaluate", "synthetic:60:2", "--channels", "0.3",
                                    "--keep-activations", "1GB", "--out", folder / "out.safetensors", "--json"});
  ASSERT_EQ(cut.exit_code, 0) << cut.err;
  const auto json = cut.json();
  constexpr int64_t kSlack = 1 << 20;  // the system counts pages per core
  const auto outside = static_cast<int64_t>(cut.peak_resident_bytes);
  EXPECT_NEAR(static_cast<double>(json.at("peak_rss_bytes").get<int64_t>()), static_cast<double>(outside), kSlack);
  EXPECT_EQ(json.at("ledger").at("process_peak_bytes"), json.at("peak_rss_bytes"));
  int64_t largest = 0;
  std::set<std::string> uses;
  for (const auto& phase : json.at("phases")) {
    const auto of = [&](const char* key) { return phase.at(key).get<int64_t>(); };
    const auto& peak = phase.at("ledger").at("peak");
    const auto at_peak = [&](const char* key) { return peak.at(key).get<int64_t>(); };
    largest = std::max(largest, of("rss_peak_bytes"));
    EXPECT_GE(of("rss_peak_bytes") + kSlack, std::max(of("rss_before_bytes"), of("rss_after_bytes"))) << phase;
    EXPECT_GE(of("rss_peak_bytes") + kSlack, at_peak("resident_bytes")) << phase;
    int64_t tensors = 0;
    for (const auto& [key, value] : peak.items()) {
      if (key == "resident_bytes" || key == "library_and_rest_bytes" || key == "untouched_bytes") continue;
      tensors += value.get<int64_t>();
      if (value.get<int64_t>() > 0) uses.insert(key);
    }
    EXPECT_EQ(tensors, of("tensors_peak_bytes")) << phase;
    EXPECT_EQ(at_peak("resident_bytes") - (tensors - at_peak("untouched_bytes")), at_peak("library_and_rest_bytes"));
    EXPECT_GT(at_peak("library_and_rest_bytes"), 0) << "the process holds more than its tensors: " << phase;
    EXPECT_LE(100 * at_peak("other_bytes"), tensors) << phase;
  }
  EXPECT_LE(largest, outside + kSlack);
  EXPECT_GE(largest, outside - kSlack) << "the process's peak is a phase's";
  EXPECT_THAT(uses, ::testing::IsSupersetOf({"moments_bytes", "kept_bytes", "statistics_bytes", "activations_bytes"}));
}

/// What elek promises first: no activation is kept, so more images need no more memory.
TEST(MemoryCommand, ThePeakOfACutDoesNotDependOnTheNumberOfImages) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const auto cut = [&](const std::string& command, const std::string& images, std::vector<std::string> more) {
    std::vector<std::string> words{command,
                                   "--model",
                                   model,
                                   "--calibrate",
                                   "synthetic:" + images + ":1",
                                   "--evaluate",
                                   "synthetic:20:2",
                                   "--max-batches",
                                   "0",
                                   "--batch",
                                   "10",
                                   "--threads",
                                   "1",
                                   "--out",
                                   folder / "out.st",
                                   "--quiet",
                                   "--json"};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome outcome = elek_command(words);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    const auto json = outcome.json();
    int64_t most = 0;
    for (const auto& phase : json.at("phases")) most = std::max(most, phase.at("tensors_peak_bytes").get<int64_t>());
    return std::pair{most, static_cast<double>(outcome.peak_resident_bytes)};
  };
  constexpr double kMegabytes = 1e6;
  for (const std::string command : {"coverage", "wanda"}) {
    const std::vector<std::string> target =
        command == "wanda" ? std::vector<std::string>{"--sparsity", "0.5"} : std::vector<std::string>{};
    std::vector<std::string> refit = target;
    refit.insert(refit.end(), {"--repair", "refit"});
    EXPECT_EQ(cut(command, "40", refit).first, cut(command, "640", refit).first) << command;
    // The default also distils: it keeps the pixels of the images held out, at most 1.5 MB.
    const auto [few_bytes, few_resident] = cut(command, "100", target);
    const auto [many_bytes, many_resident] = cut(command, "640", target);
    EXPECT_LT(static_cast<double>(many_bytes - few_bytes), 2 * kMegabytes) << command;
    EXPECT_LT(many_resident - few_resident, 2 * kMegabytes) << command;
  }
  const auto [few, few_resident] = cut("coverage", "40", {"--keep-activations", "1GB"});
  const auto [many, many_resident] = cut("coverage", "640", {"--keep-activations", "1GB"});
  EXPECT_GT(many, few) << "kept activations are there if asked for";
}

TEST(MemoryCommand, ALimitBelowOneSampleIsRefusedWithThePlan) {
  const Folder folder;
  const Outcome outcome =
      elek_command({"memory", "--model", tiny_model(folder), "--max-batch", "--memory-limit", "350kB", "--json"});
  EXPECT_EQ(outcome.exit_code, 4);
  EXPECT_THAT(outcome.err, ::testing::HasSubstr("not even one sample fits"));
  EXPECT_EQ(elek_command({"memory", "--arch", "resnet18", "--max-batch"}).exit_code, 2) << "no limit given";
}

/// The usual kernels first, then those of less workspace. That a session takes them: Memory.KernelsOfLessWorkspace…
TEST(MemoryCommand, ListsWhatChoicesOfKernelsNeed) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const auto json = elek_command({"memory", "--model", model, "--threads", "1", "--json"}).json();
  const auto& choices = json.at("choices");
  ASSERT_GE(choices.size(), 2U);
  EXPECT_EQ(choices.at(0).at("arena_bytes"), json.at("arena_bytes"));
  for (size_t i = 1; i < choices.size(); ++i) {
    EXPECT_LT(choices.at(i).at("needed_bytes"), choices.at(i - 1).at("needed_bytes"));
    EXPECT_LT(choices.at(i).at("workspace_bytes"), choices.at(0).at("workspace_bytes"));
  }
  const Outcome measured = elek_command({"memory", "--model", model, "--threads", "1", "--measure"});
  EXPECT_EQ(measured.exit_code, 0) << measured.err;
  EXPECT_THAT(measured.out,
              ::testing::AllOf(::testing::HasSubstr("any (the usual kernels)"), ::testing::HasSubstr("ms a batch")));
}

TEST(MemoryCommand, DrawsTheMap) {
  const Folder folder;
  ASSERT_EQ(
      elek_command({"memory", "--arch", "resnet18", "--map", folder / "map.svg", "--html", folder / "map.html"}).exit_code, 0);
  for (const char* name : {"map.svg", "map.html"})
    EXPECT_THAT(read_text(folder / name), ::testing::HasSubstr("layer1.0.conv1"));
  EXPECT_EQ(elek_command({"memory", "--arch", "resnet18", "--map", folder / "map.html"}).exit_code, 2) << "that is --html";
  EXPECT_EQ(elek_command({"memory", "--arch", "resnet18", "--html", folder / "map.svg"}).exit_code, 2);
  EXPECT_EQ(elek_command({"memory", "--arch", "resnet18", "--panel", "pool"}).exit_code, 2) << "without --map";
  EXPECT_EQ(elek_command({"memory", "--show", "fragmentation", "--html", folder / "x.html"}).exit_code, 2);
  EXPECT_EQ(elek_command({"memory", "--arch", "resnet18", "--map", folder / "map.png"}).exit_code, 2);
  EXPECT_EQ(elek_command({"memory", "--arch", "resnet18", "--map", folder / "none/map.svg"}).exit_code, 3);
}

/// Activations do not depend on threads, and grow in proportion to the images that pass through together.
TEST(MemoryCommand, ListsStepsAndSweeps) {
  const auto json = elek_command({"memory", "--arch", "resnet18", "--threads", "2", "--steps", "--batches", "1,4",
                                  "--threads-list", "1,2", "--json"})
                        .json();
  const auto& batches = json.at("batch_sweep");
  ASSERT_EQ(batches.size(), 2U);
  EXPECT_EQ(batches.at(0).at("arena, whole"), json.at("arena_bytes"));
  EXPECT_GT(batches.at(1).at("arena, whole").get<double>(), 3.5 * json.at("activations_bytes").get<double>());
  EXPECT_EQ(json.at("threads_sweep").at(0).at("activations alone"), json.at("threads_sweep").at(1).at("activations alone"));
  std::vector<int64_t> alive(json.at("steps").size(), 0);
  for (const auto& block : json.at("blocks")) {
    const auto last = block.at("last_step").get<size_t>();
    for (auto step = block.at("first_step").get<size_t>(); step <= last; ++step) {
      alive.at(step - 1) += (block.at("bytes").get<int64_t>() + 255) / 256 * 256;
    }
  }
  for (size_t i = 0; i < alive.size(); ++i) EXPECT_EQ(alive[i], json.at("steps").at(i).at("alive_bytes")) << i;
  EXPECT_EQ(*std::max_element(alive.begin(), alive.end()), json.at("lower_bound_bytes"));
  EXPECT_EQ(json.at("steps").at(1).at("name"), "conv1");
}

TEST(MemoryCommand, TheLabComparesTheStrategies) {
  const Folder folder;
  const auto json = elek_command({"memory", "--model", tiny_model(folder), "--lab", "--json"}).json();
  ASSERT_EQ(json.at("lab").size(), 3U);
  const auto& pass = json.at("lab").at(0).at("rows");
  ASSERT_EQ(pass.size(), 7U);
  EXPECT_EQ(pass.at(6).at("strategy"), "arena");
  EXPECT_EQ(pass.at(6).at("reserved_bytes"), json.at("arena_bytes"));
  EXPECT_EQ(json.at("lab").at(2).at("events"), 100'000);
}

TEST(MemoryCommand, WhatGoesWrongOnPurposeGoesWrong) {
  const auto out = elek_command({"memory", "--show", "out-of-memory", "--json"}).json();
  EXPECT_GT(out.at("requested_bytes").get<size_t>(), out.at("largest_free_bytes").get<size_t>());
  const auto pieces = elek_command({"memory", "--show", "fragmentation", "--json"}).json().at("in_pieces");
  EXPECT_EQ(pieces.at("free_bytes").get<size_t>(), 6 * pieces.at("largest_hole_bytes").get<size_t>());
  const auto race = elek_command({"memory", "--show", "stream-race", "--json"}).json().at("runs");
  EXPECT_NE(race.at(0).at("sum"), race.at(0).at("expected")) << "a pool that ignores streams";
  EXPECT_EQ(race.at(1).at("sum"), race.at(1).at("expected")) << "ours";
}

}  // namespace
}  // namespace elek::test
