// SPDX-License-Identifier: Apache-2.0
// elek_bench_driver: a session that stays alive and obeys lines from standard input. So bench/peers can let elek and its peers
// take turns, and ask each for its peak memory. Each line is answered by one JSON line:
//   pixels FILE        batch x H x W x C raw bytes become the input     -> {"ok": true}
//   logits FILE        one run, its logits written as raw f32            -> {"ok": true}
//   run N              N runs of the whole batch                         -> {"us": [ … ]}
//   collect N SEED     N runs, each on new random pixels, not timed      -> {"samples": …}
//   memory             this process and its session                      -> {"resident_bytes": …, …}
// --version names the commit it was built from. At the start it prints {"ready": true, …}; it ends when its input ends. The
// Python peers obey the same lines (bench/peers/worker.py).
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/memory/process_memory.h"
#include "core/runtime.h"
#include "elek/session.h"
#include "elek_commit.h"
#include "models/model_file.h"
#include "prune/score.h"

namespace {

using nlohmann::json;

struct Options {
  std::string model;
  std::string statistics = "none";
  std::string precision = "f32";
  int64_t batch = 1;
  int threads = 0;
};

void read_pixels(const std::string& path, elek::Slot& slot) {
  const auto bytes = static_cast<std::streamsize>(slot.capacity * slot.shape.elements());
  std::ifstream file(path, std::ios::binary);
  if (!file.read(reinterpret_cast<char*>(slot.pixels), bytes) || file.peek() != std::ifstream::traits_type::eof())
    throw elek::InputError(path + ": expected exactly " + std::to_string(bytes) + " bytes of pixels");
}

void fill_random(elek::Slot& slot, elek::Random& random) {
  std::generate_n(slot.pixels, slot.capacity * slot.shape.elements(),
                  [&random] { return static_cast<uint8_t>(random.next() >> 56U); });
}

json run_timed(elek::Session& session, const elek::Slot& slot, int64_t runs) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> us;
  us.reserve(static_cast<size_t>(runs));
  for (int64_t i = 0; i < runs; ++i) {
    const Clock::time_point before = Clock::now();
    (void)session.run(slot);
    us.push_back(std::chrono::duration<double, std::micro>(Clock::now() - before).count());
  }
  return {{"us", us}};
}

json memory_of(const elek::Session& session, const elek::Tracker& tracker) {
  const elek::ProcessMemory process = elek::process_memory();
  const elek::SessionMemory own = session.memory();
  return {{"resident_bytes", process.resident_bytes},
          {"peak_resident_bytes", process.peak_resident_bytes},
          {"tensors_peak_bytes", tracker.figures().peak_bytes},
          {"weights_bytes", own.weights_bytes},
          {"arena_bytes", own.arena_bytes},
          {"lower_bound_bytes", own.lower_bound_bytes},
          {"statistics_bytes", own.statistics_bytes},
          {"staging_bytes", own.staging_bytes}};
}

json obey(const std::string& line, elek::Session& session, const elek::Tracker& tracker) {
  std::istringstream words(line);
  std::string command;
  std::string path;
  int64_t count = 0;
  uint64_t seed = 0;
  elek::Slot& slot = session.slots()[0];
  words >> command;
  if (command == "pixels" && words >> path) {
    read_pixels(path, slot);
    return {{"ok", true}};
  }
  if (command == "logits" && words >> path) {
    const auto logits = session.run(slot);
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(logits.data()), static_cast<std::streamsize>(logits.size_bytes()));
    if (!file.flush()) throw elek::InputError(path + ": cannot be written");
    return {{"ok", true}};
  }
  if (command == "run" && words >> count) return run_timed(session, slot, count);
  if (command == "collect" && words >> count >> seed) {
    elek::Random random(seed);
    for (int64_t i = 0; i < count; ++i) {
      fill_random(slot, random);
      (void)session.run(slot);
    }
    return {{"samples", session.statistics().samples}};
  }
  if (command == "memory") return memory_of(session, tracker);
  throw elek::UsageError("'" + line + "': expected pixels FILE, logits FILE, run N, collect N SEED or memory");
}

elek::Precision precision_of(const std::string& name) {
  for (const elek::Precision each : {elek::Precision::kBf16, elek::Precision::kInt8}) {
    if (name == elek::name_of(each)) return each;
  }
  return elek::Precision::kF32;
}

void drive(const Options& options) {
  elek::Tracker tracker(elek::host_resource());
  elek::SessionOptions session_options;
  session_options.batch = options.batch;
  session_options.threads = options.threads;
  session_options.precision = precision_of(options.precision);
  elek::check_precision(session_options.device, session_options.precision);
  session_options.memory = &tracker;
  elek::Model model = elek::load_model(options.model, tracker);
  if (options.statistics != "none")
    session_options.probes = elek::probes_for(elek::find_criterion(options.statistics), model.graph);
  elek::Session session(std::move(model), session_options);
  elek::Slot& slot = session.slots()[0];
  slot.count = slot.capacity;
  std::fill_n(slot.labels, slot.count, -1);
  elek::Random random(1);
  fill_random(slot, random);
  std::cout << json{{"ready", true}, {"batch", options.batch}, {"watched", session_options.probes.values.size()}} << std::endl;
  for (std::string line; std::getline(std::cin, line);) std::cout << obey(line, session, tracker) << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("A session that obeys lines from standard input; bench/driver.cpp lists them.");
  app.set_version_flag("--version", ELEK_COMMIT);
  app.add_option("--model", options.model, "Model file")->required();
  app.add_option("--batch", options.batch, "Samples a run")->check(CLI::Range(1, 65536));
  app.add_option("--threads", options.threads, "0 = all");
  app.add_option("--statistics", options.statistics, "none, or the criterion whose sums are taken (std-consumer, wanda, …)");
  app.add_option("--precision", options.precision, "f32, bf16 where the CPU has it, or int8 for a quantised model")
      ->check(CLI::IsMember({"f32", "bf16", "int8"}));
  CLI11_PARSE(app, argc, argv);
  try {
    drive(options);
    return 0;
  } catch (const elek::Error& error) {
    std::cerr << "elek_bench_driver: error: " << error.what() << std::endl;
    return error.exit_code();
  } catch (const std::exception& error) {
    std::cerr << "elek_bench_driver: internal error: " << error.what() << std::endl;
    return 1;
  }
}
