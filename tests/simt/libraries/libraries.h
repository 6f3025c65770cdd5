// SPDX-License-Identifier: Apache-2.0
// Stand-ins for cuDNN and cuBLASLt on the stand-in device (../runtime.h): naive loops over the problem's definition, enqueued
// on the stream as the libraries do. cuDNN's engines are a table that tests may fill: which engines build, which refuse to run,
// and what they cost. Each call overwrites its workspace with NaN. This tests the code around the libraries. It says nothing
// about what the real libraries offer (tests/deviceless) or compute (tests/gpu on a GPU).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "elek/types.h"

namespace elek::simt {

struct Engine {
  std::string name;
  double cost_us = 10;      // without sums
  double sums_cost_us = 1;  // additional cost with sums
  size_t workspace_bytes = 0;
  std::string no_build;  // why it does not build; empty = it builds
  std::string no_run;    // why it refuses to run after it was built; empty = it runs
  bool precompiled = false;
  bool runs_only_reloaded = false;  // refuses to run as it was built
  bool takes_epilogue = true;
  bool takes_sums = true;
  bool safe_in_place = true;  // reads an element of the residual before it writes that one
  bool relu_keeps_nan = true;
};
/// Three ordinary engines, one that does not build, one that does not run, one that needs too much workspace.
[[nodiscard]] std::vector<Engine> usual_engines();
/// Sets the engines that cuDNN offers from now on.
void set_engines(std::vector<Engine> engines);
/// From now on opening cuDNN fails with this text; empty = it opens.
void lose_cudnn(const std::string& why);
[[nodiscard]] int64_t kernels_built();  // by cuDNN, since the process started

/// Loads one value of a storage type; the store rounds to nearest even.
[[nodiscard]] float load_element(const void* data, int64_t index, DType dtype);
void store_element(void* data, int64_t index, DType dtype, float value);
/// The part of an operand that TF32 keeps (the last 13 bits are cut off).
[[nodiscard]] float tf32(float value);

}  // namespace elek::simt
