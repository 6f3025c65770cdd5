// SPDX-License-Identifier: Apache-2.0
// elek merge: joins the sums of several statistics files, as if one run had watched all their images. All files are read and
// checked before anything is written. docs/distributed.md shows when it is useful. Tests: tests/cli/merge_test.cpp
#include <algorithm>
#include <charconv>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/paths.h"
#include "core/error.h"
#include "core/runtime.h"
#include "elek/model.h"

namespace elek::cli {
namespace {

struct MergeOptions {
  Common common;
  std::vector<std::string> files;
  std::string out;
};

/// Refuses a file that is given twice, because its images would count twice, and an output that is also an input, because the
/// next merge would count it again.
void check_paths(const MergeOptions& options) {
  Paths paths;
  for (size_t i = 0; i < options.files.size(); ++i) {
    paths.reads("FILES", options.files[i]);
    for (size_t j = 0; j < i; ++j) {
      if (same_file(options.files[i], options.files[j])) {
        throw UsageError(options.files[i] + " is given twice: its images would count twice; name each file once");
      }
    }
  }
  paths.writes("--out", options.out).check();
}

/// "DATA[0:5]; DATA[5:9]" becomes "DATA[0:9]", so that the history of many shards stays readable.
struct Slice {
  std::string base;
  int64_t first = 0, last = 0;
  bool is_slice = false;
};

Slice parse_slice(const std::string& text) {
  Slice slice{text, 0, 0, false};
  const size_t open = text.rfind('[');
  if (open == std::string::npos || text.back() != ']') return slice;
  const char* const end = text.data() + text.size() - 1;
  const auto [colon, first] = std::from_chars(text.data() + open + 1, end, slice.first);
  if (first != std::errc() || colon == end || *colon != ':') return slice;
  const auto [rest, last] = std::from_chars(colon + 1, end, slice.last);
  if (last != std::errc() || rest != end) return slice;
  slice.base = text.substr(0, open);
  slice.is_slice = true;
  return slice;
}

std::string joined_slices(const std::string& data) {
  std::vector<Slice> slices;
  for (size_t begin = 0; begin < data.size();) {
    const size_t end = std::min(data.find("; ", begin), data.size());
    const Slice next = parse_slice(data.substr(begin, end - begin));
    begin = end + 2;
    Slice* const before = slices.empty() ? nullptr : &slices.back();
    if (before != nullptr && before->is_slice && next.is_slice && before->base == next.base && before->last == next.first) {
      before->last = next.last;
    } else {
      slices.push_back(next);
    }
  }
  std::string text;
  for (const Slice& s : slices) {
    text += (text.empty() ? "" : "; ") + s.base;
    if (s.is_slice) text += "[" + std::to_string(s.first) + ":" + std::to_string(s.last) + "]";
  }
  return text;
}

void merge_into(Statistics& all, const std::string& first, const std::string& path) {
  try {
    all.merge(load_statistics(path));
  } catch (const InputError& error) {
    const std::string what = error.what();
    if (what.find(path) != std::string::npos) throw;  // the file itself is damaged, and the message names it
    throw InputError(path + ": " + what + " (expected: as in " + first +
                     "); take the sums of both with the same model, --tap and criterion");
  }
}

Json summary(const MergeOptions& options, const std::vector<int64_t>& samples, const Statistics& all) {
  Json inputs = Json::array();
  for (size_t i = 0; i < samples.size(); ++i) inputs.push_back({{"file", options.files[i]}, {"samples", samples[i]}});
  return {{"command", "merge"},
          {"out", options.out},
          {"inputs", inputs},
          {"samples", all.samples},
          {"values", all.values.size()},
          {"tap_norms", all.tap_norms.size()},
          {"model_hash", to_hex(all.model_hash)},
          {"tap", all.tap == Tap::kRelu ? "relu" : "conv"},
          {"threshold", all.threshold},
          {"precision", all.precision},
          {"kernels", all.kernels},
          {"data", all.data}};
}

void merge(const MergeOptions& options) {
  Context context(options.common);
  check_paths(options);
  Statistics all = load_statistics(options.files.front());
  const std::string kernels = all.kernels;
  std::vector<int64_t> samples{all.samples};
  for (size_t i = 1; i < options.files.size(); ++i) {
    throw_if_interrupted();
    const int64_t before = all.samples;
    merge_into(all, options.files.front(), options.files[i]);
    samples.push_back(all.samples - before);
  }
  if (all.kernels != kernels) {
    warn("the sums were taken by different kernels (" + all.kernels +
         "): channels with almost equal scores may be ranked differently than after one run");
  }
  all.data = joined_slices(all.data);
  save_statistics(all, options.out);
  Table table({"file", "images"});
  for (size_t i = 0; i < samples.size(); ++i) table.add({options.files[i], with_commas(samples[i])});
  table.add_rule();
  table.add({options.out, with_commas(all.samples)});
  context.output().result(table.text());
  context.output().json(summary(options, samples, all));
}

}  // namespace

void add_merge(CLI::App& app, Run& run) {
  auto options = std::make_shared<MergeOptions>();
  CLI::App* command = app.add_subcommand("merge", "Add up the sums of several statistics files (parts of one calibration)");
  command->add_option("FILES", options->files, "Statistics files from --save-statistics, of one model and criterion")
      ->required();
  command->add_option("--out", options->out, "Statistics file to write")->required();
  add_common(*command, options->common);
  command->footer(
      "Examples:\n"
      "  elek coverage --model net.safetensors --calibrate 'images:train[0:500]' --max-batches 0 --save-statistics "
      "a.safetensors\n"
      "  elek coverage --model net.safetensors --calibrate 'images:train[500:1000]' --max-batches 0 --save-statistics "
      "b.safetensors\n"
      "  elek merge a.safetensors b.safetensors --out all.safetensors\n"
      "  elek coverage --model net.safetensors --calibrate 'images:train[0:1000]' --max-batches 0 --evaluate images:val \\\n"
      "                --statistics all.safetensors --out small.safetensors");
  command->callback([&run, options] { run = [options] { merge(*options); }; });
}

}  // namespace elek::cli
