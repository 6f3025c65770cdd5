// SPDX-License-Identifier: Apache-2.0
// The model that `elek prepare` saves: from a weights file, from a model file of elek, or with random weights. And what is said
// about it. Tests: tests/cli/import_test.cpp
#include <cmath>
#include <filesystem>
#include <string_view>

#include "cli/prepare.h"
#include "cli/prepare_onnx.h"
#include "core/error.h"
#include "core/runtime.h"
#include "data/file.h"
#include "elek/model.h"
#include "models/model_file.h"

namespace elek::cli {
namespace {

ResNetSpec spec_of(const Preparation& what) {
  if (what.arch.empty()) throw UsageError("prepare: which network gets random weights? Give --arch NAME");
  ResNetSpec spec = resnet_spec(what.arch);
  if (!what.stem.empty()) spec.stem = what.stem == "cifar" ? Stem::kCifar : Stem::kImageNet;
  if (!what.input.empty()) spec.input = {what.input[0], what.input[1], what.input[2]};
  if (what.classes) spec.classes = *what.classes;
  if (!what.shortcut.empty()) spec.shortcut = what.shortcut == "B" ? Shortcut::kB : Shortcut::kA;
  if (what.width) {
    // The channels of the first stage; each later stage has twice as many, as in the papers.
    for (size_t stage = 0; stage < spec.widths.size(); ++stage) spec.widths[stage] = *what.width << stage;
  }
  return spec;
}

/// Whether the JSON library takes it as text.
bool is_utf8(const std::string& text) {
  try {
    (void)Json(text).dump();
    return true;
  } catch (const Json::exception&) {
    return false;
  }
}

std::optional<Preprocessing> preprocessing_of(const Preparation& what) {
  if (what.mean.empty()) return std::nullopt;
  check_pixels(what);
  return Preprocessing{what.mean, what.stddev};
}

Import random_model(const Preparation& what, Context& context) {
  const ResNetSpec spec = spec_of(what);
  Import made;
  made.model.architecture = spec.name;
  made.model.graph = build_resnet(spec);
  made.model.parameters = random_parameters(made.model.graph, *what.random, context.memory());
  made.model.preprocessing = preprocessing_of(what).value_or(default_preprocessing(spec.input.channels));
  const Preprocessing& preprocessing = made.model.preprocessing;
  for (const auto* values : {&preprocessing.mean, &preprocessing.stddev}) {
    if (std::ssize(*values) != spec.input.channels) {
      throw UsageError("--mean and --std have " + std::to_string(values->size()) + " values, but the network's input has " +
                       std::to_string(spec.input.channels) + " channels");
    }
  }
  HistoryEntry& entry = made.model.history.emplace_back();
  entry.action = "prepare";
  entry.target = "random";
  entry.seed = *what.random;
  entry.version = ELEK_VERSION;
  return made;
}

void give_labels(Model& model, const std::vector<std::string>& labels) {
  if (labels.empty()) return;
  const int64_t classes = model.graph.node(model.graph.output()).shape.elements();
  if (std::ssize(labels) != classes) {
    throw UsageError("labels: expected one name for each of the " + std::to_string(classes) + " classes, found " +
                     std::to_string(labels.size()));
  }
  model.labels = labels;
}

detail::Rename rename_of(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
    throw UsageError("--rename " + text + ": expected OLD=NEW, two names");
  }
  return {text.substr(0, equals), text.substr(equals + 1)};
}

}  // namespace

void check_pixels(const Preparation& what) {
  bool large = false;
  for (const float mean : what.mean) {
    if (!std::isfinite(mean)) throw UsageError("--mean: every value must be a number");
    large = large || std::fabs(mean) > 1;
  }
  for (const float stddev : what.stddev) {
    if (!(stddev > 0 && std::isfinite(stddev))) throw UsageError("--std: every value must be a number greater than 0");
    large = large || stddev > 1;
  }
  if (large)
    warn("--mean and --std are of pixels scaled to 0 ... 1; values above 1 look like the scale 0 ... 255: divide by 255");
}

std::vector<std::string> read_labels(const std::string& path) {
  const std::string wanted = "; --labels wants a text file with one class name a line";
  std::error_code code;
  if (!std::filesystem::is_regular_file(path, code)) throw InputError(path + ": cannot be read: it is not a file" + wanted);
  std::vector<std::string> labels = read_lines(path);  // without blank lines at the end
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (!labels.empty() && labels.front().starts_with(kByteOrderMark)) labels.front().erase(0, kByteOrderMark.size());
  if (labels.empty()) throw InputError(path + ": is empty" + wanted);
  for (size_t i = 0; i < labels.size(); ++i) {
    const std::string line = path + ": line " + std::to_string(i + 1);
    if (labels[i].empty()) throw InputError(line + " is blank" + wanted);
    if (!is_utf8(labels[i])) throw InputError(line + " is not UTF-8 text; convert the file, for example with iconv");
  }
  return labels;
}

WeightsOptions import_options(const Preparation& what) {
  WeightsOptions options;
  if (!what.arch.empty()) options.family = resnet_spec(what.arch);
  if (!what.input.empty()) options.input = ImageShape{what.input[0], what.input[1], what.input[2]};
  options.images = what.images;
  if (!what.stem.empty()) options.stem = what.stem == "cifar" ? Stem::kCifar : Stem::kImageNet;
  if (!what.shortcut.empty()) options.shortcut = what.shortcut == "B" ? Shortcut::kB : Shortcut::kA;
  if (what.shortcut == "A-middle" || what.shortcut == "A-end") options.zeros_behind = what.shortcut == "A-end";
  if (!what.stride_on.empty()) options.stride_on_first = what.stride_on == "1x1";
  options.preprocessing = preprocessing_of(what);
  options.strides = what.strides;
  options.stem_stride = what.stem_stride;
  options.max_pool = what.max_pool;
  if (what.epsilon && !(*what.epsilon > 0 && *what.epsilon < 1)) {
    throw UsageError("--bn-eps: expected a number of more than 0 and less than 1");
  }
  options.epsilon = what.epsilon;
  options.head = what.head;
  for (const std::string& rename : what.renames) options.renames.push_back(rename_of(rename));
  return options;
}

Import import_file(const Preparation& what, const WeightsOptions& options, Context& context) {
  const WeightsFile file = WeightsFile::open(what.weights, what.key);
  Import made = file.metadata().contains("elek") ? import_model(SafetensorsFile::open(what.weights), options, context.memory())
                                                 : import_weights(file, options, context.memory());
  made.model.history.back().version = ELEK_VERSION;
  const int64_t classes = made.model.graph.node(made.model.graph.output()).shape.elements();
  if (what.classes && *what.classes != classes) {
    throw UsageError("--classes asks for " + std::to_string(*what.classes) + ", but " + what.weights + " has " +
                     std::to_string(classes) + "; leave the option out, or take another file");
  }
  give_labels(made.model, what.labels);
  return made;
}

Import prepare_model(const Preparation& what, Context& context) {
  if (!what.weights.empty() && is_onnx(what.weights)) return prepare_onnx(what, context);
  if (!what.weights.empty()) return import_file(what, import_options(what), context);
  Import made = random_model(what, context);
  give_labels(made.model, what.labels);
  validate(made.model, "--random");
  return made;
}

std::string option_for(Unseen what) {
  switch (what) {
    case Unseen::kInputSize:
      return "--input C,H,W";
    case Unseen::kPixels:
      return "--mean, --std";
    case Unseen::kStem:
      return "--stem-stride, --max-pool, --no-max-pool";
    case Unseen::kShortcut:
      return "--shortcut A-end";
    case Unseen::kStride:
      return "--stride-on 1x1|3x3";
    case Unseen::kStages:
      return "--stage-strides; dilation is not supported";
    case Unseen::kEpsilon:
      return "--bn-eps";
    case Unseen::kOrder:
      return "--rename";
    case Unseen::kProjection:
    case Unseen::kGate:
      break;
  }
  return "no option: elek computes nothing else";
}

void tell(const Import& prepared, const Output& output) {
  for (const std::string& note : prepared.notes) output.note("note: " + note);
  bool assumed = false;
  for (const Taken& each : prepared.taken) {
    if (each.given()) continue;
    const std::string what = std::string(name_of(each.what)) + ": " + each.value;
    output.note(each.assumed() ? "assumed: " + what + " (" + option_for(each.what) + ")" : "from " + each.source + ": " + what);
    assumed = assumed || each.assumed();
  }
  if (assumed)
    output.note(
        "The file does not show what was assumed. Check it on labelled images: --evaluate DATA, or --evaluate DATA --try.");
}

}  // namespace elek::cli
