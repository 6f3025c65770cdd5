// SPDX-License-Identifier: Apache-2.0
// Context: what every command shares. The common options, the memory all tensors come from (a tracker, over a pool, over a
// limit where --memory-limit asks for one, over the host), where words go, and the memory peaks of each phase. Tests:
// tests/cli/usage_test.cpp
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/output.h"
#include "core/memory/ledger.h"
#include "core/memory/process_memory.h"
#include "elek/batch_source.h"
#include "elek/data.h"
#include "elek/memory.h"
#include "elek/session.h"

namespace elek::cli {

struct Common {
  std::string device;  // empty: not said, which is auto
  std::string precision = "f32";
  std::string memory_limit;
  int threads = 0;
  uint64_t seed = 0;
  bool deterministic = false;
  bool quiet = false;
  bool json = false;
};
/// Adds the options that every command takes.
void add_common(CLI::App& command, Common& common);

/// "64MB", "1.5GiB", "4096": bytes. MB = 10^6, MiB = 2^20. UsageError unless it is a positive size.
[[nodiscard]] size_t parse_bytes(const std::string& text);
/// "cpu", "cuda", "cuda:1"; nothing for "auto" and "". UsageError for anything else.
[[nodiscard]] std::optional<Device> parse_device(const std::string& text);
/// "f32", "tf32", "bf16", "f16". UsageError for anything else.
[[nodiscard]] Precision parse_precision(const std::string& text);

/// Memory of one phase: of the process as the system counts it, and of the tensors as our resources count them.
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
  Account device_before, device_after;  // of a GPU, once one is used
  Ledger::Peak device_peak;
  double time_ms = 0;
};

/// The command's pool keeps little: large blocks go back to the system as soon as they are free, small ones are reused. Under a
/// limit its segments are a 64th of it at most, so that what lies free in a begun segment refuses nobody who would fit.
[[nodiscard]] PoolOptions command_pool(size_t limit_bytes);

/// Where tensors of one device come from: a tracker, over a ledger, over a pool, over a limit where one is asked for, over the
/// device's own.
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
  Tracker tracker_;
};

class Context {
 public:
  /// UsageError, DeviceError: --device and --precision cannot be had.
  explicit Context(const Common& common);
  [[nodiscard]] const Common& common() const noexcept { return common_; }
  [[nodiscard]] const Output& output() const noexcept { return output_; }
  /// Host memory: models, results.
  [[nodiscard]] MemoryResource& memory() noexcept { return host_.tracker(); }
  [[nodiscard]] Tracker& tracker() noexcept { return host_.tracker(); }
  [[nodiscard]] const Pool& pool() const noexcept { return host_.pool(); }
  /// Where the process's bytes are now, for --json and for people. Of the host: a GPU's memory is no part of the process.
  [[nodiscard]] Account account() const { return elek::account(host_.ledger(), host_.pool()); }
  /// Of the GPU that sessions run on, once one is used.
  [[nodiscard]] std::optional<Account> device_account() const {
    if (on_device_ == nullptr) return std::nullopt;
    return elek::account(on_device_->ledger(), on_device_->pool());
  }
  /// Where sessions run. --device auto looks for a GPU now and, if it finds none, says why in one line.
  [[nodiscard]] Device device();
  /// What sessions allocate from: the device's memory, which is the host's on the CPU. --memory-limit counts here alone.
  [[nodiscard]] Tracker& session_tracker();
  /// Bytes that --memory-limit still allows sessions; nothing where there is no limit.
  [[nodiscard]] std::optional<size_t> memory_left();
  /// Device, precision, batch, threads and memory as the command line asks.
  [[nodiscard]] SessionOptions session_options(int64_t batch);
  /// A loader that decodes on as many threads as the command may use.
  [[nodiscard]] std::unique_ptr<BatchSource> loader(std::shared_ptr<const Dataset> dataset, int64_t limit,
                                                    const std::string& description) const;

  /// Runs `work`, with the memory peaks before and after noted under `name`.
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
  /// The two halves of phase(), for whoever is told of phases by others.
  void begin_phase(const std::string& name);
  void end_phase();
  void print_phases() const;
  /// The process's largest resident size so far, as `time` and wait4 see it.
  [[nodiscard]] size_t peak_rss_bytes() const { return process_memory().peak_resident_bytes; }
  [[nodiscard]] Json phases_json() const;

 private:
  void print_ledger() const;
  void add_ledger(Json& json) const;
  Common common_;
  Output output_;
  std::optional<size_t> limit_bytes_;
  std::optional<Device> device_;  // once known
  TensorMemory host_;
  std::unique_ptr<TensorMemory> on_device_;  // of a GPU, once one is used
  Phase current_;
  ResidentPeak current_peak_;
  std::chrono::steady_clock::time_point phase_start_;
  std::vector<Phase> phases_;
};

[[nodiscard]] Json account_json(const Account& account);
/// The session's own account of its bytes.
[[nodiscard]] Json memory_json(const SessionMemory& memory);

/// InputError now, not after minutes of work, if `path` cannot become a file: no such folder, not writable, or a folder itself.
void check_output_path(const std::string& path);

}  // namespace elek::cli
