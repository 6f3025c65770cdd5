// SPDX-License-Identifier: Apache-2.0
// What a run of a session takes, step by step, and what the device could do at most: two words that the session and its
// backends share. What follows from them is profile.h's. Tests: tests/golden/profile_test.cpp
#pragma once

#include <cstddef>
#include <vector>

namespace elek {

/// Times of one run. Steps are the program's; where a batch runs in slices, all slices of a step count together.
struct StepTimes {
  std::vector<double> step_us;
  double rest_us = 0;  // of the run, between and after the steps: handing over the output
};

/// How many bytes a second go to and from memory while a set of so many bytes is gone through again and again: small sets stay
/// in caches.
struct Bandwidth {
  size_t set_bytes = 0;
  double copy = 0;  // bytes read and bytes written, a second
  double read = 0;  // bytes read, a second
};

/// What a device was measured to do at most.
struct Peaks {
  double flops = 0;                   // operations a second in the precision asked for; a multiply-add counts as two
  std::vector<Bandwidth> bandwidths;  // by ascending set_bytes, at least one
  double passes = 0;                  // of a cache line from core to core, a second; 0: one thread, or no CPU
};

}  // namespace elek
