// SPDX-License-Identifier: Apache-2.0
// Makes a network of 8-bit integers, as `elek quantize` does: quantize MODEL CALIBRATION EVALUATION OUT. Labels are only needed
// to measure.

#include <elek/elek.h>

#include <cstdio>

int main(int argc, char** argv) try {
  if (argc != 5)
    throw elek::UsageError("usage: quantize MODEL CALIBRATION EVALUATION OUT (DATA: idx:DIR, images:DIR, cifar10:DIR)");
  const elek::Model model = elek::load_model(argv[1], elek::host_resource());
  const elek::ImageShape& shape = model.graph.input_shape();
  const auto calibrate =
      elek::make_loader(elek::parse_data(argv[2], shape), {.shuffle_seed = 0, .limit = 500, .description = argv[2]});
  const auto data = elek::make_loader(elek::parse_data(argv[3], shape), {.description = argv[3]});
  elek::SessionOptions options;
  options.batch = 50;
  elek::QuantizeReport report;
  const elek::Model small = elek::quantize(model, *calibrate, options, {}, {}, report);
  elek::Session before(model, options);
  options.precision = elek::Precision::kInt8;
  elek::Session after(small, options);
  std::printf("%lld of %zu layers compute in int8\n", static_cast<long long>(report.quantized()), report.layers.size());
  std::printf("top-1: f32 %.1f %%, int8 %.1f %%\n", 100 * elek::evaluate(before, *data).top1,
              100 * elek::evaluate(after, *data).top1);
  elek::save_model(small, argv[4]);
  return 0;
} catch (const elek::Error& error) {
  std::fprintf(stderr, "quantize: %s\n", error.what());
  return error.exit_code();
}
