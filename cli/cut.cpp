// SPDX-License-Identifier: Apache-2.0
#include "cli/cut.h"

#include <filesystem>
#include <utility>

#include "cli/labelled.h"
#include "cli/quantized_text.h"
#include "core/error.h"
#include "core/runtime.h"
#include "data/sample.h"
#include "elek/quantize.h"
#include "models/model_file.h"

namespace elek::cli {
size_t CutInput::keep_bytes() const {
  return keep_activations.empty() ? 0 : parse_bytes("--keep-activations", keep_activations);
}

Paths input_paths(const CutInput& input) {
  Paths paths;
  paths.reads("--model", input.model).reads_data("--calibrate", input.calibrate).reads_data("--evaluate", input.evaluate);
  return paths;
}

CutOptions options_for(CutOptions what, const Dense& dense, Context& context) {
  what.session = context.session_options(dense.input.batch);
  what.seed = context.common().seed;
  what.memory = &context.memory();
  what.keep_activations = dense.input.keep_bytes();
  what.memory_left = [&context] { return context.memory_left(); };
  return what;
}

CutRun run_of(const Dense& dense, const CutOptions& options, CutObserver& observer) {
  return {options, *dense.calibration, dense.evaluation_source.get(), observer, dense.measured.ms_an_image};
}

Dense load_dense(const CutInput& input, Context& context, const std::function<void(const Model&)>& check) {
  (void)input.keep_bytes();  // an error in it must not come after the work
  Dense dense;
  dense.path = input.model;
  dense.input = input;
  context.phase("load", [&] {
    dense.model = load_model(input.model, context.memory());
    dense.file_bytes = std::filesystem::file_size(input.model);
    if (check) check(dense.model);
    if (!input.evaluate.empty()) dense.evaluation = labelled_data(input.evaluate, dense.model, context.output());
    const int64_t images = input.max_batches * input.batch;
    const auto calibration =
        input.use_labels
            ? shuffled_sample(labelled_data(input.calibrate, dense.model, context.output()), images, context.common().seed)
            : calibration_data(input.calibrate, dense.model.graph.input_shape(), images, context.common().seed);
    if (dense.evaluation) dense.overlap = overlap(*calibration, *dense.evaluation);
    dense.calibration = context.loader(calibration, 0, input.calibrate);
    if (dense.evaluation) dense.evaluation_source = context.loader(dense.evaluation, 0, input.evaluate);
  });
  if (dense.overlap > 0) {
    warn(std::to_string(dense.overlap) + " of the " + std::to_string(dense.calibration->samples()) +
         " calibration images are also evaluation images: the accuracies below are too high");
  }
  if (!dense.evaluation) return dense;
  CutNotes notes(context);
  CutOptions options;
  options.session = context.session_options(input.batch);
  dense.measured = measure(dense.model, run_of(dense, options, notes), CutWork::kDense);
  return dense;
}

UsageError removes_nothing_error(const std::string& target, const std::string& path, bool weights) {
  return UsageError("the target " + target + " removes nothing from " + path + "; choose a larger share" +
                    (weights ? ": a share of all weights, zeros included" : ", or --round-to 1"));
}

namespace {

/// The last step: the cut network in int8, on the calibration images of the cut.
void quantize_result(const Dense& dense, const CutOptions& options, CutResult& result, Context& context) {
  QuantizeReport report;
  QuantizeOptions how;
  how.keep_activations_bytes = options.keep_activations;
  Model made = context.phase("quantize", [&] {
    ProgressBar bar(context.output(), "quantize");
    return quantize(result.report.model, *dense.calibration, options.session, how, bar.callback(), report);
  });
  context.output().note(quantized_text(report));
  result.quantized = context.phase("inference", [&] {
    SessionOptions in_int8 = options.session;
    in_int8.precision = Precision::kInt8;
    Session session(made, in_int8);
    result.quantized_arena_bytes = session.memory().arena_bytes;
    ProgressBar bar(context.output(), "evaluate in int8");
    return evaluate(session, *dense.evaluation_source, bar.callback());
  });
  result.report.model = std::move(made);
}

}  // namespace

CutResult cut_to_file(const Dense& dense, const Evidence& evidence, CutOptions options, Storage storage, const std::string& out,
                      Context& context) {
  options.evaluation_hash = to_hex(content_hash(*dense.evaluation));
  CutNotes notes(context);
  CutResult result;
  try {
    result.report = cut_by(dense.model, evidence, dense.measured, run_of(dense, options, notes));
  } catch (const RemovesNothing& error) {
    throw removes_nothing_error(error.target(), dense.path, options.weights);
  }
  throw_if_interrupted();
  if (storage == Storage::kInt8) quantize_result(dense, options, result, context);
  throw_if_interrupted();
  if (!out.empty()) save_model(result.report.model, out);
  result.dense_file_bytes = dense.file_bytes;
  result.pruned_file_bytes = model_file_bytes(result.report.model);
  return result;
}

}  // namespace elek::cli
