// SPDX-License-Identifier: Apache-2.0
// The name of this machine's processor: measured times are worth something only on the machine that they come from.
// Tests: tests/backends/kernel_times_test.cpp, tests/cli/baseline_test.cpp
#pragma once

#include <string>

namespace elek {

/// "AMD EPYC 9B14", from /proc/cpuinfo; the machine's architecture ("aarch64") where that names none.
[[nodiscard]] const std::string& processor_name();

}  // namespace elek
