// SPDX-License-Identifier: Apache-2.0
// The recipe of a cut: watch, score, select, apply, check, repair, report. cut() does all of it and is what most programs call;
// prune/recipe_steps.h has its steps one by one. Reads no file and writes none, prints nothing: whoever wants to know how far
// it is gives a CutObserver. Memory: sessions come from options.session.memory, networks that are made from options.memory.
// Tests: tests/prune/recipe_test.cpp
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/batch_source.h"
#include "core/error.h"
#include "engine/evaluate.h"
#include "engine/session.h"
#include "graph/model.h"
#include "prune/apply.h"
#include "prune/criterion.h"
#include "prune/repair.h"
#include "prune/select.h"

namespace elek {

/// What to cut, how, and where it runs. As it stands: 30 % of the channels by the criterion refit, repaired by least squares.
struct CutOptions {
  bool weights = false;  // set single weights to zero (Wanda, by `sparsity`) in place of removing channels
  const Criterion* criterion = &default_criterion();  // of channels
  Tap tap = Tap::kRelu;                               // what is watched of a layer
  ChannelTarget channels{.share = 0.3};               // its scope is not looked at: `scope` below says
  std::optional<Scope> scope = std::nullopt;          // empty: the criterion's own
  WeightTarget sparsity;
  Repair repair = Repair::kRefit;
  int steps = 1;                  // rounds to reach the target in; statistics are taken again between them
  uint64_t seed = 0;              // of criteria that draw
  const Model* replay = nullptr;  // a cut network whose choice is repeated; nothing is watched or scored then
  std::string replay_name;        // what to call it in errors
  std::string evaluation_hash;    // names the evaluation data's contents in History (content_hash() of data/dataset.h)

  SessionOptions session;            // device, precision, batch, threads, memory of every session; probes are set by the recipe
  MemoryResource* memory = nullptr;  // of networks that are made; null = host_resource()
  /// Bytes that sessions may still take when it is asked; null, or nothing returned: no limit is known.
  std::function<std::optional<size_t>()> memory_left = nullptr;

  /// `channels` with the scope that the cut has.
  [[nodiscard]] ChannelTarget channel_target() const;
  /// Whether channels are chosen by costs that are measured over the images.
  [[nodiscard]] bool measures_costs() const { return !weights && replay == nullptr && criterion->needs_images(); }
};

/// A network on the evaluation images.
struct Measured {
  Accuracy accuracy;
  std::vector<uint8_t> hits;  // one an image, in order: 1 where the network was right
  size_t arena_bytes = 0;
  double ms_an_image = 0;
};

struct CutReport {
  Model model;           // cut and repaired, with the cut in its history
  PrunePlan plan;        // of the dense network
  std::string replayed;  // hash of the network whose choice it repeats, or empty
  Equivalence equivalence;
  std::optional<Measured> dense;  // these three: where there are evaluation images
  std::optional<Measured> pruned;
  std::optional<Measured> repaired;  // and a repair
  int64_t watched_samples = 0;       // images whose sums were taken; 0 where the criterion needs none
  size_t statistics_bytes = 0;       // what the sums held
};

/// The phases of a cut. Each may come several times: once a round.
enum class CutPhase : uint8_t { kInference, kCollection, kScoring, kPruning, kRepair };
/// A piece of work long enough for a progress bar.
enum class CutWork : uint8_t { kDense, kCollect, kCosts, kJustPruned, kRefit, kReestimate, kRepaired };

/// Is told what a cut does, on the thread that cuts. This one does nothing with it: derive and override what you need. An
/// exception thrown from here ends the cut and comes out of it.
class CutObserver {
 public:
  CutObserver() = default;
  CutObserver(const CutObserver&) = delete;
  CutObserver& operator=(const CutObserver&) = delete;
  virtual ~CutObserver() = default;
  virtual void begin(CutPhase phase);
  virtual void end(CutPhase phase);  // not called for a phase that an exception leaves
  /// What to call after each batch of this work, with images done and in all; it is destroyed when the work ends. May be empty.
  [[nodiscard]] virtual Progress start(CutWork work);
  /// What a measuring of costs or a refit will hold and take; told before it starts.
  virtual void forecast(const Forecast& forecast);
  /// Round `step` of `steps` has chosen; `so_far` is what all rounds take of the dense network.
  virtual void chosen(int step, int steps, const PrunePlan& so_far);
  /// The compact network equals the masked dense one.
  virtual void checked(const Equivalence& equivalence);
};

/// The target takes nothing away; ask for a larger share.
class RemovesNothing : public UsageError {
 public:
  explicit RemovesNothing(const std::string& target);
  [[nodiscard]] const std::string& target() const noexcept { return target_; }

 private:
  std::string target_;
};

/// The whole recipe on the dense network, which does not change. `calibrate` is looked at without labels, several times;
/// `evaluate` needs labels, may be null (then nothing is measured) and should have other images. RemovesNothing, or UsageError
/// for a target that cannot be (select_channels()), InputError for data or statistics that cannot be used, OutOfMemory,
/// DeviceError; ContractError if the compact network does not equal the masked one. All memory is given back on the way out.
[[nodiscard]] CutReport cut(const Model& dense, BatchSource& calibrate, BatchSource* evaluate, const CutOptions& options,
                            CutObserver& observer);

}  // namespace elek
