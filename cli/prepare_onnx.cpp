// SPDX-License-Identifier: Apache-2.0
#include "cli/prepare_onnx.h"

#include <filesystem>

#include "core/error.h"
#include "models/mapped_file.h"
#include "models/onnx/import.h"
#include "models/sniff.h"

namespace elek::cli {
namespace {

void apply_options(const Preparation& what, Model& model) {
  const int64_t classes = model.graph.node(model.graph.output()).shape.channels;
  if (what.classes && *what.classes != classes) {
    throw UsageError("--classes asks for " + std::to_string(*what.classes) + ", but " + what.weights + " has " +
                     std::to_string(classes) + "; leave the option out, or take another file");
  }
  if (!what.mean.empty()) {
    check_pixels(what);
    model.preprocessing = {what.mean, what.stddev};
  }
  const int64_t channels = model.graph.input_shape().channels;
  for (const auto* values : {&model.preprocessing.mean, &model.preprocessing.stddev}) {
    if (std::ssize(*values) != channels) {
      throw UsageError("--mean and --std have " + std::to_string(values->size()) + " values, but the network's input has " +
                       std::to_string(channels) + " channels");
    }
  }
  if (what.labels.empty()) return;
  if (std::ssize(what.labels) != classes) {
    throw UsageError("labels: expected one name for each of the " + std::to_string(classes) + " classes, found " +
                     std::to_string(what.labels.size()));
  }
  model.labels = what.labels;
}

}  // namespace

bool is_onnx(const std::string& path) { return kind_of(MappedFile::open(path).bytes()) == FileKind::kOnnx; }

Import prepare_onnx(const Preparation& what, Context& context) {
  ImportOptions options;
  if (!what.input.empty()) options.input = ImageShape{what.input[0], what.input[1], what.input[2]};
  options.preprocessing_is_given = !what.mean.empty();
  Imported imported = import_onnx(what.weights, options, context.memory());
  Import made{std::move(imported.model), {}, std::move(imported.notes)};
  HistoryEntry entry;
  entry.action = "prepare";
  entry.target = std::filesystem::path(what.weights).filename().string();
  entry.source_hash = hash_of_file(what.weights);
  entry.version = ELEK_VERSION;
  for (const std::string& note : made.notes) {
    if (note.find("assumed") != std::string::npos) entry.assumptions.push_back({"ONNX", note, Taken::kAssumed});
  }
  if (!what.arch.empty()) made.notes.emplace_back("--arch is not used, because an ONNX file contains its network");
  apply_options(what, made.model);
  made.model.history.push_back(std::move(entry));
  return made;
}

}  // namespace elek::cli
