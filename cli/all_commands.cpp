// SPDX-License-Identifier: Apache-2.0
// The subcommands of elek.
#include "cli/commands.h"

namespace elek::cli {
namespace {

void add_all(CLI::App& app, Run& run) {
  add_prepare(app, run);
  add_eval(app, run);
  add_run(app, run);
  add_coverage(app, run);
  add_wanda(app, run);
  add_tune(app, run);
  add_quantize(app, run);
  add_merge(app, run);
  add_sweep(app, run);
  add_recommend(app, run);
  add_compare(app, run);
  add_convert(app, run);
  add_info(app, run);
  add_memory(app, run);
  add_watch(app, run);
  add_bench(app, run);
  add_profile(app, run);
  add_report(app, run);
  add_demo(app, run);
  add_manual(app, run);
}

}  // namespace

Commands commands() {
  return {"elek", "elek runs ResNet-style networks, watches their channels, and removes those that do little work.",
          "Examples:\n"
          "  elek demo                                        prune a shipped network: all steps, about a minute\n"
          "  elek prepare --arch resnet18 --random 1 --out net.safetensors\n"
          "  elek coverage --model net.safetensors --calibrate images:train --evaluate images:val --out small.safetensors\n"
          "  elek COMMAND --help\n",
          add_all};
}

}  // namespace elek::cli
