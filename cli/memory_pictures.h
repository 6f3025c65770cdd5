// SPDX-License-Identifier: Apache-2.0
// The pictures of elek memory: the static map (--map), the interactive page (--html), the table of steps (--steps), and the
// sweeps over batches and threads. Tests: tests/cli/memory_test.cpp, tests/lab
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/output.h"
#include "engine/estimate.h"
#include "lab/replay.h"

namespace elek::cli {

struct PictureOptions {
  std::string map;
  std::string panel;
  std::string html;
  std::string plot;
  bool one_scale = false;
  bool no_workspace = false;
  bool steps = false;
  std::vector<int64_t> batches;
  std::vector<int64_t> threads;
  /// Whether anything is asked for that needs a session's plan.
  [[nodiscard]] bool any() const {
    return !map.empty() || !html.empty() || !plot.empty() || steps || no_workspace || !batches.empty() || !threads.empty();
  }
};
void add_pictures(CLI::App& command, PictureOptions& options);
/// UsageError for names of files with another ending, and for options that belong to a picture that is not asked for.
/// `lifetimes`: whether the trace is written or a placement judged.
void check(const PictureOptions& options, bool lifetimes);

/// What would be planned for another batch, micro-batch or number of threads.
struct Planned {
  int64_t batch = 1;
  int64_t micro_batch = 0;
  int64_t threads = 0;  // 0: as on the command line
};
using Estimate = std::function<SessionEstimate(const Planned&)>;

/// Draws and prints what is asked for, and adds it to `json`. `title` names the network and its precision.
void draw(const Output& output, const PictureOptions& options, const std::string& title, const SessionEstimate& session,
          const Planned& planned, const Estimate& estimate, const std::optional<Replay>& given, Json& json);
/// The same for a trace without a network. `given` is a placement by hand, drawn first.
void draw(const Output& output, const PictureOptions& options, const std::string& title, const Trace& trace,
          const std::optional<Replay>& given, Json& json);

}  // namespace elek::cli
