// SPDX-License-Identifier: Apache-2.0
#include "cli/context.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <string_view>

#include "core/error.h"
#include "core/file.h"
#include "core/hint.h"
#include "core/memory/process_memory.h"
#include "core/runtime.h"
#include "core/threads.h"
#include "elek/data.h"
#include "lab/trace_file.h"
#include "plan/program.h"

namespace elek::cli {

void add_common(CLI::App& command, Common& common) {
  const std::string group = "Common";
  command.add_option("--device", common.device, "Device: auto (a GPU if there is one), cpu, cuda or cuda:INDEX")
      ->default_str("auto")
      ->group(group);
  command
      .add_option("--precision", common.precision,
                  "Precision: f32, bf16 if the CPU supports it, or int8 for a quantised model; on a GPU f32, tf32, bf16 or f16")
      ->capture_default_str()
      ->group(group);
  command.add_option("--threads", common.threads, "CPU threads; 0 = all")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str()
      ->group(group);
  command.add_option("--seed", common.seed, "Random seed: order of the calibration images, random scores")
      ->capture_default_str()
      ->group(group);
  command
      .add_flag("--deterministic", common.deterministic,
                "The same result in every run, but slower: no Winograd, sums in a fixed order")
      ->group(group);
  command
      .add_option("--memory-limit", common.memory_limit,
                  "Largest memory for tensors, for example 64MB or 1.5GiB; with a GPU: in its memory")
      ->group(group);
  command.add_flag("--quiet", common.quiet, "Print only results and warnings")->group(group);
  command.add_flag("--json", common.json, "Print one JSON object to standard output, everything else to standard error")
      ->group(group);
}

void add_trace(CLI::App& command, Common& common, const std::string& what) {
  command.add_option("--trace", common.trace, what + " what is asked of the memory for tensors: " + kWritableTraces);
}

size_t parse_bytes(const std::string& option, const std::string& text) {
  struct Unit {
    std::string_view name;
    double bytes;
  };
  static constexpr std::array<Unit, 9> kUnits{{{"", 1},
                                               {"B", 1},
                                               {"kB", 1e3},
                                               {"KB", 1e3},
                                               {"MB", 1e6},
                                               {"GB", 1e9},
                                               {"KiB", 1024.0},
                                               {"MiB", 1048576.0},
                                               {"GiB", 1073741824.0}}};
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  std::string_view unit(rest, static_cast<size_t>(end - rest));
  if (error == std::errc() && unit.starts_with(' ')) unit.remove_prefix(1);
  const auto* found = std::find_if(kUnits.begin(), kUnits.end(), [unit](const Unit& u) { return u.name == unit; });
  const double bytes = found == kUnits.end() ? -1 : number * found->bytes;
  if (error != std::errc() || !(bytes >= 1) || !(bytes < 9e18)) {
    throw UsageError(option + " '" + text + "': expected a positive number with B, kB, MB, GB, KiB, MiB or GiB");
  }
  return static_cast<size_t>(bytes);
}

std::optional<Device> parse_device(const std::string& text) {
  if (text.empty() || text == "auto") return std::nullopt;
  if (text == "cpu") return Device{DeviceKind::kCpu, 0};
  const std::string_view name(text);
  if (name == "cuda") return Device{DeviceKind::kCuda, 0};
  if (name.starts_with("cuda:")) {
    int index = 0;
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data() + 5, end, index);
    if (error == std::errc() && rest == end && index >= 0) return Device{DeviceKind::kCuda, index};
  }
  throw UsageError("--device '" + text + "': expected auto, cpu, cuda or cuda:INDEX");
}

Precision parse_precision(const std::string& text) {
  for (const Precision precision : {Precision::kF32, Precision::kTf32, Precision::kBf16, Precision::kF16, Precision::kInt8}) {
    if (text == name_of(precision)) return precision;
  }
  throw UsageError("--precision '" + text + "': expected f32, tf32, bf16, f16 or int8");
}

PoolOptions command_pool(size_t limit_bytes) {
  return {.segment_bytes = std::min(size_t{2} << 20, limit_bytes / 64),
          .keep_bytes = std::min(size_t{4} << 20, limit_bytes / 32)};
}

namespace {

Json uses_json(const UseBytes& bytes) {
  Json json;
  for (size_t i = 0; i < kUses; ++i) json[std::string(name_of(static_cast<Use>(i))) + "_bytes"] = bytes[i];
  return json;
}

Json peak_json(const Ledger::Peak& peak, const char* system = "resident_bytes") {
  Json json = uses_json(peak.uses);
  json["untouched_bytes"] = total(peak.untouched);
  json["library_and_rest_bytes"] = peak.library_and_rest_bytes();
  json[system] = peak.system_bytes;
  return json;
}

/// Of a GPU: the bytes in use before our first allocation, and the bytes used since then by anything but our tensors.
Json device_account_json(const Account& account) {
  Json json = uses_json(account.uses);
  json["pool_bytes"] = account.pool_bytes;
  json["before_bytes"] = account.library_bytes;
  json["rest_bytes"] = account.rest_bytes;
  json["driver_bytes"] = account.system_bytes;
  return json;
}

}  // namespace

TensorMemory::TensorMemory(MemoryResource& upstream, StreamOrder& order, std::optional<size_t> limit_bytes)
    : pool_(
          [&]() -> MemoryResource& {
            if (!limit_bytes) return upstream;
            return limit_.emplace(upstream, *limit_bytes);
          }(),
          command_pool(limit_bytes.value_or(std::numeric_limits<size_t>::max())), order),
      ledger_(pool_),
      explain_(ledger_, pool_),
      tracker_(explain_) {}

namespace {

std::optional<size_t> limit_of(const Common& common) {
  if (common.memory_limit.empty()) return std::nullopt;
  return parse_bytes("--memory-limit", common.memory_limit);
}

}  // namespace

Context::Context(const Common& common)
    : common_(common),
      output_(common.json, common.quiet),
      limit_bytes_(limit_of(common)),
      device_(parse_device(common.device)),
      host_(host_resource(), host_order(), limit_bytes_ && is_host(device()) ? limit_bytes_ : std::nullopt) {
  if (common.json) {  // these make oneDNN write to standard output, where there must be one JSON object
    (void)unsetenv("ONEDNN_VERBOSE");
    (void)unsetenv("DNNL_VERBOSE");
  }
  if (common.threads > usable_cores()) {
    warn("--threads " + std::to_string(common.threads) + ": this process may use " + std::to_string(usable_cores()) +
         " cores; more threads than cores make nothing faster");
  }
  if (!common.trace.empty()) {
    if (!is_writable_trace(common.trace)) {
      throw UsageError("--trace " + common.trace + ": expected a name that ends in " + kWritableTraces);
    }
    check_output_path(common.trace);
    session_tracker().record_events(true);
    output_.at_end([this](Json& json) { write_trace(json); });
  }
  output_.add_to_json([this](Json& json) {
    if (!jpeg_decoder_.empty()) json["jpeg_decoder"] = jpeg_decoder_;
    add_ledger(json);
  });
  const Precision precision = parse_precision(common_.precision);
  if (device_) {
    const std::string why = why_not(*device_);
    if (!why.empty() && is_host(*device_)) throw DeviceError(why);
    if (!why.empty()) throw Hinted<DeviceError>(Hint::kUseCpu, why);
  }
  if (device_ || precision != Precision::kF32) check_precision(device(), precision);
}

Device Context::device() {
  if (device_) return *device_;
  device_ = Device{DeviceKind::kCpu, 0};
  // A build without CUDA always uses the CPU. It prints a reason only if the user wrote --device auto.
  if (!built_with(DeviceKind::kCuda) && common_.device.empty()) return *device_;
  const Device gpu{DeviceKind::kCuda, 0};
  const std::string why = why_not(gpu);
  if (why.empty()) {
    device_ = gpu;
  } else {
    output_.note("elek: --device auto uses the CPU: " + why);
  }
  return *device_;
}

void Context::write_trace(Json& json) {
  const Trace trace = trace_of(session_tracker().events());
  write_whole_file(common_.trace, trace_text(trace, common_.trace, TraceForm::kEvents));
  output_.result("recorded: " + common_.trace + ", " + with_commas(static_cast<int64_t>(trace.events.size())) + " events\n");
  json["trace"] = common_.trace;
  json["events"] = trace.events.size();
}

Tracker& Context::session_tracker() {
  if (is_host(device())) return host_.tracker();
  if (on_device_ == nullptr) {
    on_device_ = std::make_unique<TensorMemory>(default_memory(device()), stream_order(device()), limit_bytes_);
  }
  return on_device_->tracker();
}

std::optional<size_t> Context::memory_left() {
  if (!limit_bytes_) return std::nullopt;
  const PoolOptions pool = command_pool(*limit_bytes_);
  const size_t held = session_tracker().figures().live_bytes + pool.keep_bytes + pool.segment_bytes;
  return *limit_bytes_ - std::min(*limit_bytes_, held);
}

SessionOptions Context::session_options(int64_t batch) {
  remember_batch(batch);
  SessionOptions options;
  options.device = device();
  options.precision = parse_precision(common_.precision);
  options.batch = batch;
  options.threads = common_.threads;
  options.deterministic = common_.deterministic;
  options.memory = &session_tracker();
  options.on_plan = [this](const MemoryPlan& plan) {
    Ledger& ledger = on_device_ != nullptr ? on_device_->ledger() : host_.ledger();
    ledger.announce_arena(plan.arena_bytes, plan.activations_at_peak_bytes);
  };
  return options;
}

std::unique_ptr<BatchSource> Context::loader(std::shared_ptr<const Dataset> dataset, int64_t limit,
                                             const std::string& description) {
  if (jpeg_decoder_.empty() && has_jpegs(*dataset)) {
    jpeg_decoder_ = jpeg_decoder();
    output_.note(
        "JPEG files are decoded by " + jpeg_decoder_ +
        (jpeg_decoder_ == "stb_image" ? ", to slightly other pixels than PyTorch's users see (docs/cli.md, Pixels)" : ""));
  }
  LoaderOptions options;
  options.limit = limit;
  options.threads = common_.threads > 0 ? common_.threads : default_threads();
  options.description = description;
  return make_loader(std::move(dataset), options);
}

void Context::begin_phase(const std::string& name) {
  throw_if_interrupted();
  current_ = Phase{};
  current_.name = name;
  current_peak_ = {};
  tracker().reset_peak();
  current_.tensors_before_bytes = tracker().figures().live_bytes;
  if (on_device_ != nullptr) {
    on_device_->tracker().reset_peak();
    on_device_->ledger().reset_peak();
    current_.device_before_bytes = on_device_->tracker().figures().live_bytes;
    current_.device_before = *device_account();
  }
  host_.ledger().reset_peak();
  current_.before = account();
  current_.rss_before_bytes = current_.before.system_bytes;
  phase_start_ = std::chrono::steady_clock::now();
}

void Context::end_phase() {
  const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - phase_start_;
  const Tracker::Figures tensors = tracker().figures();
  const Tracker::Figures device = on_device_ != nullptr ? on_device_->tracker().figures() : Tracker::Figures{};
  current_.time_ms = elapsed.count();
  current_.peak = host_.ledger().peak();
  current_.rss_peak = current_peak_.figure(current_.peak.system_bytes);
  current_.tensors_after_bytes = tensors.live_bytes;
  current_.tensors_peak_bytes = tensors.peak_bytes;
  current_.device_after_bytes = device.live_bytes;
  current_.device_peak_bytes = device.peak_bytes;
  current_.after = account();
  current_.rss_after_bytes = current_.after.system_bytes;
  if (on_device_ != nullptr) {
    current_.device_peak = on_device_->ledger().peak();
    current_.device_after = *device_account();
  }
  phases_.push_back(current_);
}

void Context::print_phases() const {
  std::vector<std::string> header{"memory (MB)", "process before", "peak", "after", "tensors before", "peak", "after"};
  if (on_device_ != nullptr) header.insert(header.end(), {"GPU before", "peak", "after"});
  header.emplace_back("time");
  Table table(std::move(header));
  const auto mb = [](size_t bytes) { return decimal(static_cast<double>(bytes) / 1e6, 1); };
  for (const Phase& phase : phases_) {
    std::vector<std::string> row{phase.name};
    for (const size_t bytes : {phase.rss_before_bytes, phase.rss_peak.bytes, phase.rss_after_bytes, phase.tensors_before_bytes,
                               phase.tensors_peak_bytes, phase.tensors_after_bytes}) {
      row.push_back(mb(bytes));
    }
    if (on_device_ != nullptr) {
      for (const size_t bytes : {phase.device_before_bytes, phase.device_peak_bytes, phase.device_after_bytes}) {
        row.push_back(mb(bytes));
      }
    }
    row.push_back(duration(std::chrono::duration<double, std::milli>(phase.time_ms)));
    table.add(std::move(row));
  }
  output_.result("\n" + table.text());
  print_ledger();
}

/// One column per phase: the written bytes of each use when the tensors held most, and of the process at that moment. A phase
/// that occurs again (inference) is shown once; a use without bytes is left out.
void Context::print_ledger() const {
  std::vector<const Phase*> shown;
  std::vector<std::string> header{"at the peak (MB)"};
  for (const Phase& phase : phases_) {
    if (std::find(header.begin(), header.end(), phase.name) != header.end()) continue;
    header.push_back(phase.name);
    shown.push_back(&phase);
  }
  Table table(header);
  const auto mb = [](size_t bytes) { return decimal(static_cast<double>(bytes) / 1e6, 1); };
  for (size_t use = 0; use < kUses; ++use) {
    if (std::all_of(shown.begin(), shown.end(), [use](const Phase* phase) { return phase->peak.uses[use] == 0; })) continue;
    std::vector<std::string> row{std::string(name_of(static_cast<Use>(use)))};
    for (const Phase* phase : shown) row.push_back(mb(phase->peak.uses[use] - phase->peak.untouched[use]));
    table.add(std::move(row));
  }
  std::vector<std::string> rest{"libraries and other memory"}, all{"process at that time"};
  for (const Phase* phase : shown) {
    rest.push_back(mb(phase->peak.library_and_rest_bytes()));
    all.push_back(mb(phase->peak.system_bytes));
  }
  table.add(std::move(rest));
  table.add_rule();
  table.add(std::move(all));
  output_.result("\n" + table.text());
}

Json Context::phases_json() const {
  Json phases = Json::array();
  for (const Phase& phase : phases_) {
    Json ledger = {
        {"before", account_json(phase.before)}, {"peak", peak_json(phase.peak)}, {"after", account_json(phase.after)}};
    if (on_device_ != nullptr) {
      ledger["device"] = {{"before", device_account_json(phase.device_before)},
                          {"peak", peak_json(phase.device_peak, "driver_bytes")},
                          {"after", device_account_json(phase.device_after)}};
    }
    phases.push_back({{"name", phase.name},
                      {"rss_before_bytes", phase.rss_before_bytes},
                      {"rss_peak_bytes", phase.rss_peak.bytes},
                      {"rss_after_bytes", phase.rss_after_bytes},
                      {"rss_peak_is_exact", phase.rss_peak.exact},
                      {"tensors_before_bytes", phase.tensors_before_bytes},
                      {"tensors_peak_bytes", phase.tensors_peak_bytes},
                      {"device_before_bytes", phase.device_before_bytes},
                      {"device_after_bytes", phase.device_after_bytes},
                      {"device_peak_bytes", phase.device_peak_bytes},
                      {"tensors_after_bytes", phase.tensors_after_bytes},
                      {"ledger", std::move(ledger)},
                      {"time_ms", phase.time_ms}});
  }
  return phases;
}

void Context::add_ledger(Json& json) const {
  const auto larger = [](Ledger::Peak& most, const Ledger::Peak& peak) {
    if (total(peak.uses) > total(most.uses)) most = peak;
  };
  Ledger::Peak most = host_.ledger().peak();
  for (const Phase& phase : phases_) larger(most, phase.peak);
  json["ledger"] = {{"now", account_json(account())},
                    {"peak", peak_json(most)},
                    {"process_peak_bytes", process_memory().peak_resident_bytes}};
  if (on_device_ == nullptr) return;
  most = on_device_->ledger().peak();
  for (const Phase& phase : phases_) larger(most, phase.device_peak);
  json["ledger"]["device"] = {{"now", device_account_json(*device_account())}, {"peak", peak_json(most, "driver_bytes")}};
}

Json account_json(const Account& account) {
  Json json = uses_json(account.uses);
  json["pool_bytes"] = account.pool_bytes;
  json["untouched_bytes"] = account.untouched_bytes;
  json["library_bytes"] = account.library_bytes;
  json["rest_bytes"] = account.rest_bytes;
  json["resident_bytes"] = account.system_bytes;
  return json;
}

Json memory_json(const SessionMemory& memory) {
  return {{"weights_bytes", memory.weights_bytes},         {"arena_bytes", memory.arena_bytes},
          {"lower_bound_bytes", memory.lower_bound_bytes}, {"activations_bytes", memory.activations_bytes},
          {"workspace_bytes", memory.workspace_bytes},     {"statistics_bytes", memory.statistics_bytes},
          {"staging_bytes", memory.staging_bytes}};
}

void check_output_path(const std::string& path) {
  const std::filesystem::path file(path);
  std::error_code error;
  if (std::filesystem::is_directory(file, error)) throw InputError(path + ": is a folder; name a file to write");
  const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
  if (!std::filesystem::is_directory(folder, error)) {
    throw InputError(path + ": the folder " + folder.string() + " does not exist; make it or name another");
  }
  if (access(folder.c_str(), W_OK) != 0) throw InputError(path + ": the folder " + folder.string() + " is not writable");
}

}  // namespace elek::cli
