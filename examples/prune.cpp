// SPDX-License-Identifier: Apache-2.0
// Prunes a network as `elek coverage` does by default: prune MODEL CALIBRATION EVALUATION OUT. It removes the channels whose
// loss the repair can compensate best, then repairs by least squares and a distillation. Labels are only needed to measure.

#include <elek/elek.h>

#include <cstdio>

int main(int argc, char** argv) try {
  if (argc != 5)
    throw elek::UsageError("usage: prune MODEL CALIBRATION EVALUATION OUT (DATA: idx:DIR, images:DIR, cifar10:DIR)");
  const elek::Model dense = elek::load_model(argv[1], elek::host_resource());
  const elek::ImageShape& shape = dense.graph.input_shape();
  const auto calibrate =
      elek::make_loader(elek::parse_data(argv[2], shape), {.shuffle_seed = 0, .limit = 500, .description = argv[2]});
  const auto evaluate = elek::make_loader(elek::parse_data(argv[3], shape), {.description = argv[3]});
  elek::CutObserver nobody;  // derive from it to show progress
  const elek::CutReport report = elek::cut(dense, *calibrate, evaluate.get(), {}, nobody);
  const auto percent = [](const std::optional<elek::Measured>& on) { return 100 * on.value().accuracy.top1; };
  std::printf("top-1: dense %.1f %%, just pruned %.1f %%, repaired %.1f %%\n", percent(report.dense), percent(report.pruned),
              percent(report.repaired));
  std::printf("multiply-adds: %.2f times fewer\n",
              static_cast<double>(elek::macs(dense.graph)) / static_cast<double>(elek::macs(report.model.graph)));
  elek::save_model(report.model, argv[4]);
  return 0;
} catch (const elek::Error& error) {
  std::fprintf(stderr, "prune: %s\n", error.what());
  return error.exit_code();
}
