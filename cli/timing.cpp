// SPDX-License-Identifier: Apache-2.0
#include "cli/timing.h"

#include <algorithm>

#include "core/error.h"
#include "core/runtime.h"
#include "core/threads.h"
#include "plan/program.h"

namespace elek::cli {

void fill_with_random_pixels(Slot& slot, uint64_t seed) {
  slot.count = slot.capacity;
  Random random(seed);
  const int64_t pixels = slot.count * slot.shape.elements();
  std::generate_n(slot.pixels, pixels, [&random] { return static_cast<uint8_t>(random.next() >> 56U); });
  std::fill_n(slot.labels, slot.count, -1);
}

double percentile(const std::vector<double>& sorted, double share) {
  ELEK_CHECK(!sorted.empty(), "percentile: no values");
  const auto rank = static_cast<size_t>(share * static_cast<double>(sorted.size() - 1) + 0.5);
  return sorted[std::min(rank, sorted.size() - 1)];
}

int used_threads(int asked) { return asked > 0 ? asked : default_threads(); }

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return percentile(values, 0.5);
}

CLI::Validator seconds_range() {
  return {[](const std::string& text) {
            double seconds = 0;
            const bool is_number = CLI::detail::lexical_cast(text, seconds);
            return is_number && seconds >= 0 && seconds <= 3600 ? std::string()
                                                                : "'" + text + "': expected seconds from 0 to 3600";
          },
          "FLOAT in [0 - 3600]"};
}

void add_kernels(CLI::App& command, std::string& kernels) {
  command
      .add_option("--kernels", kernels,
                  "How convolutions on the CPU get their kernel. rule: by shape; measured: the fastest on this machine (times "
                  "are kept on disk)")
      ->check(CLI::IsMember({"rule", "measured"}))
      ->capture_default_str();
}

KernelChoice kernel_choice(const std::string& kernels) {
  return kernels == "measured" ? KernelChoice::kMeasured : KernelChoice::kRule;
}

void note_kernels(const Output& output, const Program& program) {
  const auto timed = std::count_if(program.steps.begin(), program.steps.end(),
                                   [](const ProgramStep& step) { return step.choice.starts_with("timed: "); });
  if (timed > 0) {
    output.note("elek: " + std::to_string(timed) +
                " convolutions use the kernel that was measured as the fastest on this machine; elek profile --why shows the "
                "times");
  }
}

}  // namespace elek::cli
