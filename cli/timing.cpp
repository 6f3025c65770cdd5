// SPDX-License-Identifier: Apache-2.0
#include "cli/timing.h"

#include <algorithm>

#include "core/threads.h"
#include "plan/program.h"

namespace elek::cli {

int used_threads(int asked) { return asked > 0 ? asked : default_threads(); }

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
