// SPDX-License-Identifier: Apache-2.0
// elek watch: what it costs to watch a network's channels, batch by batch: hooks that store activations, hooks that add them
// up, and elek's sums inside the kernels. One run feeds all three, so they see the same values. Tests: tests/cli/trace_test.cpp
#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/paths.h"
#include "core/error.h"
#include "core/file.h"
#include "elek/model.h"
#include "graph/passes.h"
#include "lab/plot.h"
#include "models/model_file.h"

namespace elek::cli {
namespace {

struct WatchOptions {
  Common common;
  std::string model;
  std::string data;
  std::string plot;
  std::string store_limit = "1GB";
  int64_t batch = 50;
  int64_t max_batches = 20;
};

/// What a hook with sums keeps for one value.
struct Sums {
  std::vector<double> sum, sum_of_squares;
};

struct Row {
  int64_t images = 0;
  size_t stored = 0;
  size_t hooked = 0;
  size_t elek = 0;
};

/// The two kinds of hooks, on the values of each batch. Their tensors come from trackers of their own.
class Hooks {
 public:
  Hooks(std::map<std::string, ImageShape> values, size_t limit) : values_(std::move(values)), limit_(limit) {}

  void after_batch(const Session& session, int64_t samples, int64_t batch) {
    for (const auto& [name, shape] : values_) {
      const std::vector<float> value = session.stored_value(name);
      const auto used = static_cast<size_t>(samples * shape.elements());
      ELEK_CHECK(value.size() >= used, name + ": fewer values than samples");
      const Shape stored{static_cast<int64_t>(used)};
      {
        Tensor copy(stored, DType::kF32, sums_memory_, name);  // the hook's argument: freed when the hook returns
        std::copy_n(value.begin(), used, copy.f32().begin());
        add(copy.f32(), shape, sums_[name]);
      }
      if (full_) continue;
      if (store_memory_.figures().live_bytes + used * sizeof(float) > limit_) {
        full_ = true;
        full_at_batch_ = batch;
        continue;
      }
      kept_.emplace_back(stored, DType::kF32, store_memory_, name);
      std::copy_n(value.begin(), used, kept_.back().f32().begin());
    }
  }
  [[nodiscard]] size_t stored_bytes() const { return store_memory_.figures().live_bytes; }
  [[nodiscard]] size_t hooked_bytes() const {  // the largest copy, and the sums
    size_t bytes = sums_memory_.figures().peak_bytes;
    for (const auto& [name, sums] : sums_) bytes += 2 * sums.sum.size() * sizeof(double);
    return bytes;
  }
  [[nodiscard]] std::optional<int64_t> full_at_batch() const { return full_at_batch_; }

  /// The largest relative difference between these sums and elek's.
  [[nodiscard]] double difference(const Statistics& statistics) const {
    double most = 0;
    for (const auto& [name, sums] : sums_) {
      const ValueSums& other = statistics.values.at(name);
      for (size_t c = 0; c < sums.sum.size(); ++c) {
        const double scale = std::sqrt(sums.sum_of_squares[c] * static_cast<double>(other.count)) + 1e-30;
        most = std::max(most, std::abs(sums.sum[c] - other.sum[c]) / scale);
        most = std::max(most, std::abs(sums.sum_of_squares[c] - other.sum_sq[c]) / (sums.sum_of_squares[c] + 1e-30));
      }
    }
    return most;
  }

 private:
  static void add(std::span<const float> values, const ImageShape& shape, Sums& sums) {
    const auto channels = static_cast<size_t>(shape.channels), positions = static_cast<size_t>(shape.height * shape.width);
    sums.sum.resize(channels);
    sums.sum_of_squares.resize(channels);
    for (size_t i = 0; i < values.size(); ++i) {
      const size_t channel = i / positions % channels;
      sums.sum[channel] += values[i];
      sums.sum_of_squares[channel] += static_cast<double>(values[i]) * values[i];
    }
  }
  std::map<std::string, ImageShape> values_;
  size_t limit_;
  Tracker store_memory_{host_resource()}, sums_memory_{host_resource()};
  std::vector<Tensor> kept_;
  std::map<std::string, Sums> sums_;
  bool full_ = false;
  std::optional<int64_t> full_at_batch_;
};

std::string mb(size_t bytes) { return decimal(static_cast<double>(bytes) / 1e6, 3); }

void plot(const WatchOptions& options, const std::vector<Row>& rows) {
  Plot picture{"Memory that watching needs: " + std::filesystem::path(options.model).stem().string(),
               "batches of " + std::to_string(options.batch) + ", beside the network itself",
               "images",
               "MB",
               "",
               0,
               {},
               {}};
  PlotPanel panel{"", {{"hooks that store", {}}, {"hooks with sums", {}}, {"elek", {}}}};
  for (const Row& row : rows) {
    const std::array<size_t, 3> bytes{row.stored, row.hooked, row.elek};
    for (size_t i = 0; i < bytes.size(); ++i) {
      const double y = static_cast<double>(bytes[i]) / 1e6;
      panel.series[i].points.push_back({static_cast<double>(row.images), y, y, y});
    }
  }
  picture.panels.push_back(std::move(panel));
  write_whole_file(options.plot, plot_svg(picture));
}

void watch(const WatchOptions& options) {
  Context context(options.common);
  Paths().reads("--model", options.model).writes("--plot", options.plot).check();
  if (!options.plot.empty() && !options.plot.ends_with(".svg")) {
    throw UsageError("--plot " + options.plot + ": expected a name that ends in .svg");
  }
  if (!is_host(context.device())) throw UsageError("watch compares hooks on the CPU; add --device cpu");
  if (options.common.precision != "f32") throw UsageError("watch compares hooks in f32; remove --precision");
  Model model = load_model(options.model, context.memory());
  SessionOptions made = context.session_options(options.batch);
  made.micro_batch = options.batch;  // a hook sees whole batches
  made.keep_values = true;
  std::map<std::string, ImageShape> values;
  for (const FusedNode& step : fuse(model.graph).steps) {
    if (!step.node.is<Conv2dAttrs>()) continue;
    const Node& node = model.graph.node(step.output);
    values[node.name] = node.shape;
    made.probes.values[node.name] = kActivity;
  }
  const auto data = parse_data(options.data, model.graph.input_shape());
  const auto images = context.loader(data, options.max_batches * options.batch, "watching");
  Session session(std::move(model), made);
  Hooks hooks(values, parse_bytes("--store-limit", options.store_limit));
  const Output& output = context.output();
  output.result("memory that watching " + std::to_string(values.size()) + " layers needs, in MB\n" +
                "   images  hooks that store  hooks with sums     elek\n");
  std::vector<Row> rows;
  int64_t images_done = 0;
  (void)for_each_batch(session, *images, options.max_batches, {}, [&](const Slot& slot, std::span<const float> /*logits*/) {
    images_done += slot.count;
    hooks.after_batch(session, slot.count, static_cast<int64_t>(rows.size()) + 1);
    rows.push_back({images_done, hooks.stored_bytes(), hooks.hooked_bytes(), session.memory().statistics_bytes});
    const auto cell = [](const std::string& text, size_t width) {
      return std::string(text.size() < width ? width - text.size() : 0, ' ') + text;
    };
    const Row& r = rows.back();
    const bool full = hooks.full_at_batch().has_value();
    output.result(cell(std::to_string(r.images), 9) + cell((full ? "> " : "") + mb(r.stored), 18) + cell(mb(r.hooked), 17) +
                  cell(mb(r.elek), 9) + "\n");
  });
  if (rows.empty()) throw InputError(options.data + ": no image");
  const double difference = hooks.difference(session.statistics());
  if (hooks.full_at_batch()) {
    output.result("the hooks that store reached --store-limit " + options.store_limit + " in batch " +
                  std::to_string(*hooks.full_at_batch()) + "; a program without a limit ends here, out of memory\n");
  }
  output.result("the sums of the hooks and of elek differ by at most " + scientific(difference) + " of a channel's size\n");
  if (!options.plot.empty()) {
    plot(options, rows);
    output.result("plot: " + options.plot + "\n");
  }
  Json list = Json::array();
  for (const Row& r : rows) {
    list.push_back({{"images", r.images}, {"store_bytes", r.stored}, {"sums_bytes", r.hooked}, {"elek_bytes", r.elek}});
  }
  output.json({{"command", "watch"},
               {"batches", list},
               {"store_limit_reached_in_batch", hooks.full_at_batch() ? Json(*hooks.full_at_batch()) : Json()},
               {"largest_difference", difference}});
}

}  // namespace

void add_watch(CLI::App& app, Run& run) {
  auto options = std::make_shared<WatchOptions>();
  CLI::App* command = app.add_subcommand("watch", "Compare hooks that store, hooks with sums, and elek's sums, batch by batch");
  command->add_option("--model", options->model, "Model file")->required();
  command->add_option("--data", options->data, "Images")->required();
  command->add_option("--batch", options->batch, "Images per batch")->check(CLI::Range(1, 4096))->capture_default_str();
  command->add_option("--max-batches", options->max_batches, "Batches to watch")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command->add_option("--store-limit", options->store_limit, "The hooks that store stop at this size")->capture_default_str();
  command->add_option("--plot", options->plot, "Draw the three curves into this .svg file");
  add_common(*command, options->common);
  command->footer("Example:\n  elek watch --model net.safetensors --data images:train --plot watch.svg");
  command->callback([&run, options] { run = [options] { watch(*options); }; });
}

}  // namespace elek::cli
