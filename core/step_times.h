// SPDX-License-Identifier: Apache-2.0
// The time of each step of a run, and the measured limits of the device. The session and the backends share these types;
// engine/profile.h uses them. Tests: tests/golden/profile_test.cpp
#pragma once

#include <cstddef>
#include <vector>

namespace elek {

/// The times of one run, per step of the program. If a batch runs in several micro-batches, the times of a step are added.
struct StepTimes {
  std::vector<double> step_us;
  double rest_us = 0;  // time between and after the steps, such as copying the output
};

/// Bytes per second if `set_bytes` bytes are read, or copied, again and again. Small sets stay in caches and are faster.
struct Bandwidth {
  size_t set_bytes = 0;
  double copy = 0;  // bytes read plus bytes written, per second
  double read = 0;  // bytes read per second
};

/// The measured limits of a device.
struct Peaks {
  double flops = 0;                   // operations per second in the precision asked for; a multiply-add counts as two
  std::vector<Bandwidth> bandwidths;  // by ascending set_bytes, at least one
  double passes = 0;                  // passes of a cache line from core to core per second; 0: one thread, or not a CPU
};

}  // namespace elek
