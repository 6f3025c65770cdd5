// SPDX-License-Identifier: Apache-2.0
// Other work on the machine while an object lives, so that a session must share its cores. Each kind is a child process.
// Children end with this process, whatever happens to it.
// Run: build/bin/bench_session --benchmark_filter=company. The same beside other engines: bench/peers/company.py
#pragma once

#include <sys/types.h>

#include <functional>

namespace elek::bench {

/// A child that works in `work` until this object ends. `work` runs on the child's only thread, tells by `ready()` that it has
/// begun, and never returns.
class Company {
 public:
  using Work = std::function<void(const std::function<void()>& ready)>;
  explicit Company(const Work& work);
  Company(const Company&) = delete;
  Company& operator=(const Company&) = delete;
  ~Company();

 private:
  pid_t child_ = -1;
};

/// One core that is always busy.
[[noreturn]] void keep_a_core_busy(const std::function<void()>& ready);

/// A quota of `cores` for the parent process, as the kernel keeps it for a container: in each period of 100 ms the process is
/// stopped when it has used its share. By signals, because control groups may not be written everywhere.
[[noreturn]] void keep_parent_to(double cores, const std::function<void()>& ready);

/// Processor time of this process, all threads, in seconds.
[[nodiscard]] double cpu_seconds();

}  // namespace elek::bench
