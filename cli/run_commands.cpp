// SPDX-License-Identifier: Apache-2.0
// The subcommands of elek-run, the program for boards: those that only load a model file and run it. What cuts, trains,
// quantises or imports is not linked. Tests: tests/cli/run_only_check.cmake
#include "cli/commands.h"

namespace elek::cli {
namespace {

void add_running(CLI::App& app, Run& run) {
  add_eval(app, run);
  add_run(app, run);
  add_memory(app, run);
  add_bench(app, run);
}

}  // namespace

Commands commands() {
  return {"elek-run", "elek-run runs model files that elek has made. It cannot make, cut or quantise them.",
          "Examples:\n"
          "  elek-run bench --model small.safetensors --threads 1\n"
          "  elek-run run --model small.safetensors --data images:photos\n"
          "  elek-run COMMAND --help\n",
          add_running};
}

}  // namespace elek::cli
