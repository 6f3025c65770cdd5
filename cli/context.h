// SPDX-License-Identifier: Apache-2.0
// Context: what all commands share: the common options, the memory of all tensors (a tracker over a pool, over a limit if
// --memory-limit is given, over the host), the output, and the memory peaks of each phase.
// Tests: tests/cli/usage_test.cpp
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/output.h"
#include "cli/refusal.h"
#include "core/memory/ledger.h"
#include "core/memory/process_memory.h"
#include "elek/batch_source.h"
#include "elek/data.h"
#include "elek/memory.h"
#include "elek/session.h"

namespace elek::cli {

struct Common {
  std::string device;  // empty: not given, the same as auto
  std::string precision = "f32";
  std::string memory_limit;
  std::string trace;
  int threads = 0;
  uint64_t seed = 0;
  bool deterministic = false;
  bool quiet = false;
  bool json = false;
};
/// Adds the options that every command takes.
void add_common(CLI::App& command, Common& common);
/// --trace. The command's Context then records all that is asked of the memory for tensors, and writes the file when the result
/// is complete.
void add_trace(CLI::App& command, Common& common, const std::string& what);

/// "64MB", "1.5GiB", "4096": bytes. MB = 10^6, MiB = 2^20. UsageError unless it is a positive size.
[[nodiscard]] size_t parse_bytes(const std::string& option, const std::string& text);
/// "cpu", "cuda", "cuda:1" as a device; nothing for "auto" and "". UsageError for anything else.
[[nodiscard]] std::optional<Device> parse_device(const std::string& text);
/// "f32", "tf32", "bf16", "f16". UsageError for anything else.
[[nodiscard]] Precision parse_precision(const std::string& text);

/// Memory of one phase: of the process as the system counts it, and of the tensors as our resources count it.
struct Phase {
  std::string name;
  size_t rss_before_bytes = 0;
  size_t rss_after_bytes = 0;
  ResidentPeak::Figure rss_peak;
  size_t tensors_before_bytes = 0;
  size_t tensors_after_bytes = 0;
  size_t tensors_peak_bytes = 0;
  size_t device_before_bytes = 0;  // tensors in a GPU's memory
  size_t device_after_bytes = 0;
  size_t device_peak_bytes = 0;
  Account before, after;
  Ledger::Peak peak;                    // when the tensors held most
  Account device_before, device_after;  // of a GPU, if one is used
  Ledger::Peak device_peak;
  double time_ms = 0;
};

/// Options of the command's pool. It keeps little: large blocks go back to the system when they are freed, small ones are
/// reused. Under a limit a segment is at most a 64th of it, so that the free part of a segment does not cause a refusal.
[[nodiscard]] PoolOptions command_pool(size_t limit_bytes);

/// Memory of tensors on one device: a tracker over what explains refusals, over a ledger, over a pool, over a limit if one is
/// given, over the device's memory.
class TensorMemory {
 public:
  TensorMemory(MemoryResource& upstream, StreamOrder& order, std::optional<size_t> limit_bytes);
  [[nodiscard]] Tracker& tracker() noexcept { return tracker_; }
  [[nodiscard]] Ledger& ledger() noexcept { return ledger_; }
  [[nodiscard]] const Ledger& ledger() const noexcept { return ledger_; }
  [[nodiscard]] const Pool& pool() const noexcept { return pool_; }

 private:
  std::optional<Limit> limit_;
  Pool pool_;
  Ledger ledger_;
  ExplainRefusals explain_;
  Tracker tracker_;
};

class Context {
 public:
  /// UsageError or DeviceError if --device or --precision is not available.
  explicit Context(const Common& common);
  [[nodiscard]] const Common& common() const noexcept { return common_; }
  [[nodiscard]] const Output& output() const noexcept { return output_; }
  /// Host memory, for models and results.
  [[nodiscard]] MemoryResource& memory() noexcept { return host_.tracker(); }
  [[nodiscard]] Tracker& tracker() noexcept { return host_.tracker(); }
  [[nodiscard]] const Pool& pool() const noexcept { return host_.pool(); }
  /// Where the process's bytes are now, for --json and for readers. Host only: a GPU's memory is not part of the process.
  [[nodiscard]] Account account() const { return elek::account(host_.ledger(), host_.pool()); }
  /// The same for the GPU that sessions run on, if one is used.
  [[nodiscard]] std::optional<Account> device_account() const {
    if (on_device_ == nullptr) return std::nullopt;
    return elek::account(on_device_->ledger(), on_device_->pool());
  }
  /// The device of sessions. With --device auto it looks for a GPU now; if there is none, it prints the reason in one line.
  [[nodiscard]] Device device();
  /// The memory of sessions: the device's; on the CPU, the host's. --memory-limit applies only here.
  [[nodiscard]] Tracker& session_tracker();
  /// Bytes that --memory-limit still allows sessions; nothing if there is no limit.
  [[nodiscard]] std::optional<size_t> memory_left();
  /// Device, precision, batch, threads and memory from the command line.
  [[nodiscard]] SessionOptions session_options(int64_t batch);
  /// A loader that decodes with the command's number of threads. For data with JPEG files, a line says what decodes them, and
  /// so does "jpeg_decoder" in --json.
  [[nodiscard]] std::unique_ptr<BatchSource> loader(std::shared_ptr<const Dataset> dataset, int64_t limit,
                                                    const std::string& description);

  /// Runs `work` and records the memory peaks before and after it under `name`.
  template <typename Work>
  auto phase(const std::string& name, Work&& work) {
    begin_phase(name);
    if constexpr (std::is_void_v<decltype(work())>) {
      std::forward<Work>(work)();
      end_phase();
    } else {
      auto result = std::forward<Work>(work)();
      end_phase();
      return result;
    }
  }
  [[nodiscard]] const std::vector<Phase>& phases() const noexcept { return phases_; }
  /// phase() in two halves, for callers that learn of phases from an observer.
  void begin_phase(const std::string& name);
  void end_phase();
  void print_phases() const;
  /// The process's largest resident size so far, as `time` and wait4 see it.
  [[nodiscard]] size_t peak_rss_bytes() const { return process_memory().peak_resident_bytes; }
  [[nodiscard]] Json phases_json() const;

 private:
  void print_ledger() const;
  void add_ledger(Json& json) const;
  void write_trace(Json& json);
  Common common_;
  Output output_;
  std::optional<size_t> limit_bytes_;
  std::optional<Device> device_;  // once known
  std::string jpeg_decoder_;      // once JPEG files are read
  TensorMemory host_;
  std::unique_ptr<TensorMemory> on_device_;  // of a GPU, if one is used
  Phase current_;
  ResidentPeak current_peak_;
  std::chrono::steady_clock::time_point phase_start_;
  std::vector<Phase> phases_;
};

[[nodiscard]] Json account_json(const Account& account);
/// The session's account of its bytes.
[[nodiscard]] Json memory_json(const SessionMemory& memory);

/// InputError if `path` cannot become a file: its folder is missing or not writable, or it is a folder. Checked early, before
/// minutes of work.
void check_output_path(const std::string& path);

}  // namespace elek::cli
