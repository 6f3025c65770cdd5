// SPDX-License-Identifier: Apache-2.0
// Criteria: how channels are scored, high = keep. A criterion is one object: what it is called, what it has to look at, and the
// function from that to scores. Everything else asks the object and never for its name. A criterion that is added is one file
// in prune/criteria/ and one line in prune/criteria/list.h. Definitions: docs/criteria.md.
// Tests: tests/prune/criterion_test.cpp, tests/prune/score_test.cpp
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/statistics.h"
#include "engine/evaluate.h"
#include "engine/session.h"
#include "graph/model.h"
#include "prune/groups.h"
#include "prune/select.h"
#include "prune/trail.h"

namespace elek {

/// A list for every group, a number for every channel; empty for groups that are not prunable.
using Scores = std::vector<std::vector<double>>;

/// What a criterion scores from, beside the model's weights.
struct Evidence {
  Evidence() = default;
  Evidence(Statistics sums) : statistics(std::move(sums)) {}  // NOLINT(google-explicit-constructor): sums are evidence
  Statistics statistics;                                      // of a criterion that needs statistics
  size_t statistics_bytes = 0;                                // what the session held for them
  Scores costs;                                               // of a criterion that needs images: what measure() gave
};

/// What a long piece of work will hold and take; plain data, so that it can be told before the work starts.
struct Forecast {
  std::string criterion;      // whose costs are measured; empty: a repair
  int64_t layers = 0;         // one after the other, a pass over the images each
  size_t moments_bytes = 0;   // most at once
  std::string moments_layer;  // whose they are, where one layer's are held at a time
  KeptValues kept;            // activations kept between passes
  double dense_passes = 0;    // all of it, in passes of the dense network over the images
  double ms = 0;              // the same in milliseconds; 0 where a pass was not timed
};

class Criterion {
 public:
  enum class Needs : uint8_t {
    kWeights,     // the model alone
    kStatistics,  // sums that a session takes: probes() says which
    kImages       // the images themselves: measure() runs parts of the network
  };
  /// What is said of a criterion without calling it.
  struct Traits {
    std::string name;                 // as the command, History and docs/criteria.md write it
    std::string about;                // a few words for a list of criteria
    std::string family = "coverage";  // criteria of one idea: "coverage", "wanda", "magnitude", …
    Needs needs = Needs::kStatistics;
    Scope scope = Scope::kLayer;    // the one it wants where nothing else is asked for
    bool costs_compare = false;     // scores are costs in one unit for all groups: a common pool then spends MACs
    bool raw_convolutions = true;   // may be watched on the tap kConv
    bool weighs_consumers = false;  // a score multiplies by the weights of the layers that read the channel
    bool uses_seed = false;         // scores are drawn: another seed gives others
  };
  explicit Criterion(Traits traits) : traits_(std::move(traits)) {}
  Criterion(const Criterion&) = delete;
  Criterion& operator=(const Criterion&) = delete;
  virtual ~Criterion() = default;

  [[nodiscard]] const Traits& traits() const noexcept { return traits_; }
  [[nodiscard]] const std::string& name() const noexcept { return traits_.name; }
  [[nodiscard]] bool needs_images() const noexcept { return traits_.needs == Needs::kImages; }
  /// The scope of a cut that asks for `asked`; empty: the criterion's own. Where costs compare, a pool of all groups (kGlobal)
  /// is one of MACs (kMacs).
  [[nodiscard]] Scope scope_for(std::optional<Scope> asked) const noexcept;

  /// What to watch of a prunable group, for scores(). Adds nothing where the criterion needs no statistics.
  virtual void watch(const Graph& graph, const Group& group, Probes& probes) const;
  /// Scores of every group. The evidence has been checked (score_channels() in prune/score.h does, and is what to call).
  [[nodiscard]] virtual Scores scores(const Model& model, const std::vector<Group>& groups, const Evidence& evidence,
                                      uint64_t seed) const = 0;
  /// Of a criterion that needs images: what measure() will hold and take, with so many threads and images, where at most
  /// `checkpoint_bytes` of activations are kept between passes. ContractError for the others, here and in measure().
  [[nodiscard]] virtual Forecast forecast(const Graph& graph, const std::vector<Group>& groups, int threads, int64_t samples,
                                          size_t checkpoint_bytes) const;
  /// Looks at the images. `session` and errors as refit() (prune/refit.h).
  [[nodiscard]] virtual Scores measure(const Model& model, const std::vector<Group>& groups, BatchSource& images,
                                       const SessionOptions& session, size_t checkpoint_bytes, const Progress& progress) const;

 private:
  Traits traits_;
};

/// All there are, in the order of lists. They live as long as the program.
[[nodiscard]] const std::vector<const Criterion*>& all_criteria();
/// UsageError that lists the names if there is none of that name.
[[nodiscard]] const Criterion& find_criterion(const std::string& name);
/// What a cut goes by where nobody says: refit.
[[nodiscard]] const Criterion& default_criterion();

}  // namespace elek
