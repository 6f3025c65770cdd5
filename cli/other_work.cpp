// SPDX-License-Identifier: Apache-2.0
#include "cli/other_work.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include "cli/output.h"

namespace elek::cli {
namespace {

/// Seconds that all cores together were busy since boot, time of other virtual machines (steal) included.
std::optional<double> machine_busy_s() {
  std::ifstream file("/proc/stat");
  std::string word;
  double user = 0, nice = 0, system = 0, idle = 0, waiting = 0, interrupts = 0, soft = 0, stolen = 0;
  if (!(file >> word >> user >> nice >> system >> idle >> waiting >> interrupts >> soft >> stolen) || word != "cpu") return {};
  return (user + nice + system + interrupts + soft + stolen) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double own_busy_s() {
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec); };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

OtherWork::OtherWork() : start_(std::chrono::steady_clock::now()), busy_s_(machine_busy_s()), own_s_(own_busy_s()) {}

std::optional<double> OtherWork::cores() const {
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start_;
  const std::optional<double> busy_s = machine_busy_s();
  if (!busy_s_ || !busy_s || passed.count() < 0.2) return {};
  return std::max(0.0, (*busy_s - *busy_s_ - (own_busy_s() - own_s_)) / passed.count());
}

std::string other_work_text(std::optional<double> other_cores, int threads, const Device& device) {
  const auto cores = static_cast<double>(std::max(1U, std::thread::hardware_concurrency()));
  const double own = threads == 0 ? cores : std::min(cores, static_cast<double>(threads));
  if (!other_cores || !is_host(device) || *other_cores + own <= cores + 0.1) return "";
  return "Warning: other programs used " + decimal(*other_cores, 1) + " of " + decimal(cores, 0) +
         " cores during the measurement.\nWithout them the times would be shorter.\n";
}

}  // namespace elek::cli
