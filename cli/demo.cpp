// SPDX-License-Identifier: Apache-2.0
// elek demo: prepare, coverage and Wanda on the shipped network, and one table at the end. Statistics
// are taken once per criterion and used for all its shares. Latency and peak RAM come from a child process `elek bench` per
// network, because a process has only one peak. Tests: tests/cli/demo_test.cpp
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "cli/child.h"
#include "cli/commands.h"
#include "cli/cut.h"
#include "cli/latency.h"
#include "cli/prepare.h"
#include "core/error.h"
#include "core/runtime.h"
#include "models/model_file.h"

namespace elek::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWeightsFile = "resnet20_fashion_mnist.safetensors";
constexpr const char* kLabelsFile = "labels.txt";
constexpr int64_t kQuickImages = 2000;
constexpr int64_t kQuickBatches = 5;         // of calibration; with twenty the refit takes four times as long and is no better
constexpr double kQuickDistillSeconds = 10;  // for each of six repairs
constexpr int kLatencyRounds = 3;            // in turns; the shortest counts, because other work only adds time
constexpr int kMostRounds = 9;               // if a network still looks slower than dense: more rounds before that is reported
constexpr int64_t kMemoryBatch = 50;         // peak RAM is measured with batches of this size, latency with single images

struct DemoOptions {
  Common common;
  std::string data;
  std::string out = "elek-demo";
  bool full = false;
};

/// One line of the final table.
struct Row {
  std::string name;
  std::string file;
  double pruned = NAN;
  double repaired = NAN;
  int64_t parameters = 0;
  int64_t macs = 0;
  size_t file_bytes = 0;
  Latency latency;  // of the turn with the shortest median
  size_t peak_rss_bytes = 0;
  size_t statistics_bytes = 0;
};

std::string find_data(const std::string& given) {
  const fs::path program = fs::path(own_path()).parent_path();
  const std::vector<fs::path> places = {program / ".." / ELEK_SHARE_DIR / "fashion-mnist", program / "../../data/fashion-mnist",
                                        fs::path(ELEK_SOURCE_DATA) / "fashion-mnist"};
  if (!given.empty()) {
    if (fs::exists(fs::path(given) / kWeightsFile)) return given;
    throw InputError(given + ": has no " + kWeightsFile + "; --data must be the folder with the shipped network and images");
  }
  for (const fs::path& place : places) {
    if (fs::exists(place / kWeightsFile)) return place.lexically_normal().string();
  }
  throw InputError(places.front().lexically_normal().string() + ": has no " + kWeightsFile +
                   "; give the folder with the shipped network and images with --data");
}

class Demo {
 public:
  explicit Demo(const DemoOptions& options)
      : options_(options), context_(options.common), data_(find_data(options.data)), out_(options.out) {}
  void run();

 private:
  [[nodiscard]] std::string file(const std::string& name) const { return (out_ / (name + ".safetensors")).string(); }
  void prepare();
  void cut_rows(const Dense& dense, CutOptions what, const std::string& name, const std::string& stem);
  void measure(Row& row);
  [[nodiscard]] std::string slower_rows() const;
  void report(const Dense& dense);

  DemoOptions options_;
  Context context_;
  std::string data_;
  fs::path out_;
  std::vector<Row> rows_;
  int rounds_ = 0;  // of latencies
};

void Demo::prepare() {
  context_.output().note("\n1. prepare: the shipped ResNet-20 for Fashion-MNIST becomes a model file");
  std::error_code error;
  fs::create_directories(out_, error);
  if (error) throw InputError(out_.string() + ": cannot be created: " + error.message() + "; choose another folder with --out");
  Preparation what;
  what.arch = "cifar_resnet20";
  what.input = {1, 28, 28};
  what.weights = (fs::path(data_) / kWeightsFile).string();
  what.mean = {0.2860F};
  what.stddev = {0.3530F};
  what.labels = read_labels((fs::path(data_) / kLabelsFile).string());
  save_model(prepare_model(what, context_).model, file("dense"));
}

void Demo::cut_rows(const Dense& dense, CutOptions what, const std::string& name, const std::string& stem) {
  what = options_for(std::move(what), dense, context_);
  if (!options_.full) what.auto_seconds = kQuickDistillSeconds;
  CutNotes notes(context_);
  const Evidence evidence = gather(dense.model, run_of(dense, what, notes));
  for (const double share : {0.3, 0.5}) {
    const std::string percent_text = decimal(100 * share, 0);
    what.channels.share = share;
    what.sparsity.sparsity = share;
    const std::string out = file(stem + "-" + percent_text);
    const CutResult result = cut_to_file(dense, evidence, what, Storage::kF32, out, context_);
    const CutReport& report = result.report;
    Row row;
    row.name = name + " " + percent_text + " %";
    row.file = out;
    row.pruned = report.pruned->accuracy.top1;
    row.repaired = report.repaired ? report.repaired->accuracy.top1 : NAN;
    row.parameters = nonzero_parameter_count(report.model);
    row.macs = macs(report.model.graph);
    row.file_bytes = result.pruned_file_bytes;
    row.statistics_bytes = evidence.statistics_bytes;
    rows_.push_back(row);
  }
}

void Demo::measure(Row& row) {
  std::vector<std::string> words{
      "bench", "--model", row.file, "--json", "--quiet", "--threads", std::to_string(options_.common.threads)};
  words.insert(words.end(), {"--device", to_string(context_.device()), "--precision", options_.common.precision});
  const auto with = [&words](const std::string& batch, const std::string& seconds) {
    std::vector<std::string> all = words;
    all.insert(all.end(), {"--batch", batch, "--seconds", seconds});
    return run_child(all);
  };
  const Json timed = with("1", "0.2").at("latency_ms");
  const Latency now{timed.at("p10").get<double>(), timed.at("p50").get<double>(), timed.at("p90").get<double>()};
  if (row.latency.p50 == 0 || now.p50 < row.latency.p50) row.latency = now;
  if (row.peak_rss_bytes > 0) return;
  row.peak_rss_bytes = with(std::to_string(kMemoryBatch), "0").at("peak_rss_bytes").get<size_t>();
}

/// Names of the networks that are slower than dense.
std::string Demo::slower_rows() const {
  std::string names;
  for (const Row& row : rows_) {
    if (is_slower(row.latency, rows_.front().latency)) names += (names.empty() ? "" : ", ") + row.name;
  }
  return names;
}

void Demo::report(const Dense& dense) {
  Table table({"top-1 in %", "dense", "pruned", "repaired", "params", "MACs", "file MB", "ms", "RAM MB", "stats kB"});
  Json list = Json::array();
  for (const Row& row : rows_) {
    const bool is_dense = &row == &rows_.front();
    const auto accuracy = [](double share) { return decimal(100 * share, 2); };
    table.add({row.name, is_dense ? accuracy(dense.measured.accuracy.top1) : "", is_dense ? "" : accuracy(row.pruned),
               is_dense ? "" : accuracy(row.repaired), readable_count(row.parameters), readable_count(row.macs),
               decimal(static_cast<double>(row.file_bytes) / 1e6, 2), decimal(row.latency.p50, 2),
               decimal(static_cast<double>(row.peak_rss_bytes) / 1e6, 1),
               is_dense ? "" : decimal(static_cast<double>(row.statistics_bytes) / 1e3, 1)});
    if (is_dense) table.add_rule();
    list.push_back({{"name", row.name},
                    {"model", row.file},
                    {"accuracy", {{"dense", dense.measured.accuracy.top1}, {"pruned", row.pruned}, {"repaired", row.repaired}}},
                    {"nonzero_parameters", row.parameters},
                    {"macs", row.macs},
                    {"file_bytes", row.file_bytes},
                    {"latency_ms", latency_json(row.latency)},
                    {"peak_rss_bytes", row.peak_rss_bytes},
                    {"statistics_bytes", row.statistics_bytes}});
  }
  const std::string slower = slower_rows();
  context_.output().result(
      "\n" + table.text() + (slower.empty() ? "" : "\nSLOWER than dense: " + slower + "\n") + "\nTop-1 on " +
      with_commas(dense.measured.accuracy.samples) +
      " test images; watched and repaired (least squares, then distillation) on\n" + with_commas(dense.calibration->samples()) +
      " training images, no labels. pruned: before repair. params: nonzero. ms: one image,\n"
      "shortest of " +
      std::to_string(rounds_) + " medians. RAM: peak of a process that runs batches of " + std::to_string(kMemoryBatch) +
      ". stats: memory\nof the sums, the same for any number of images. Models: " + out_.string() + "\n");
  context_.output().json(
      {{"command", "demo"},
       {"samples", {{"calibration", dense.calibration->samples()}, {"evaluation", dense.measured.accuracy.samples}}},
       {"networks", list},
       {"phases", context_.phases_json()}});
}

void Demo::run() {
  prepare();
  CutInput input;
  input.model = file("dense");
  input.calibrate = "idx:" + data_ + ":train";
  input.evaluate = "idx:" + data_ + ":test" + (options_.full ? std::string() : "[0:" + std::to_string(kQuickImages) + "]");
  if (!options_.full) input.max_batches = kQuickBatches;
  const Dense dense = load_dense(input, context_);
  Row row;
  row.name = "dense";
  row.file = input.model;
  row.repaired = dense.measured.accuracy.top1;
  row.parameters = nonzero_parameter_count(dense.model);
  row.macs = macs(dense.model.graph);
  row.file_bytes = fs::file_size(input.model);
  rows_.push_back(row);

  context_.output().note("\n2. coverage: watch " + with_commas(dense.calibration->samples()) +
                         " images, remove 30 % and 50 % of the channels");
  CutOptions coverage;
  coverage.criterion = &find_criterion("std-consumer");
  cut_rows(dense, coverage, "coverage", "coverage");
  context_.output().note("\n3. Wanda: the same by |W| * ||X||, for channels and for single weights");
  CutOptions channels;
  channels.criterion = &find_criterion("wanda");
  cut_rows(dense, channels, "Wanda channels", "wanda-channels");
  CutOptions weights;
  weights.weights = true;
  cut_rows(dense, weights, "Wanda weights", "wanda-weights");

  context_.output().note("\nlatency and memory: each network in its own process");
  while (rounds_ < kLatencyRounds || (rounds_ < kMostRounds && !slower_rows().empty())) {
    for (Row& each : rows_) measure(each);
    ++rounds_;
  }
  report(dense);
}

}  // namespace

void add_demo(CLI::App& app, Run& run) {
  auto options = std::make_shared<DemoOptions>();
  CLI::App* command = app.add_subcommand("demo", "Prune a shipped network by coverage and Wanda, and compare: one table");
  command->add_option("--data", options->data, "Folder with the shipped network and images");
  command->add_option("--out", options->out, "Folder for the models")->capture_default_str();
  command->add_flag("--full", options->full, "All 10,000 test images instead of 2,000, 1,000 training images instead of 250");
  add_common(*command, options->common);
  command->footer("Examples:\n  elek demo\n  elek demo --full --out models");
  command->callback([&run, options] { run = [options] { Demo(*options).run(); }; });
}

}  // namespace elek::cli
