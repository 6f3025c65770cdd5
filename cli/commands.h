// SPDX-License-Identifier: Apache-2.0
// The subcommands. Each add_… declares its options and help. Parsing stores the work in `run`, so all options are parsed before
// any work begins. Tests: tests/cli
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

namespace elek::cli {

using Run = std::function<void()>;

void add_prepare(CLI::App& app, Run& run);
void add_eval(CLI::App& app, Run& run);
void add_run(CLI::App& app, Run& run);
void add_coverage(CLI::App& app, Run& run);
void add_wanda(CLI::App& app, Run& run);
void add_tune(CLI::App& app, Run& run);
void add_quantize(CLI::App& app, Run& run);
void add_merge(CLI::App& app, Run& run);
void add_sweep(CLI::App& app, Run& run);
void add_recommend(CLI::App& app, Run& run);
void add_compare(CLI::App& app, Run& run);
void add_convert(CLI::App& app, Run& run);
void add_info(CLI::App& app, Run& run);
void add_memory(CLI::App& app, Run& run);
void add_watch(CLI::App& app, Run& run);
void add_bench(CLI::App& app, Run& run);
void add_profile(CLI::App& app, Run& run);
void add_report(CLI::App& app, Run& run);
void add_demo(CLI::App& app, Run& run);
void add_manual(CLI::App& app, Run& run);

/// The subcommands of one program.
struct Commands {
  std::string program;
  std::string description;
  std::string examples;  // for --help
  void (*add)(CLI::App& app, Run& run) = nullptr;
};
/// Those of the program that is linked: all_commands.cpp or run_commands.cpp.
[[nodiscard]] Commands commands();

}  // namespace elek::cli
