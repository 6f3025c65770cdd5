// SPDX-License-Identifier: Apache-2.0
// Pruning: which channels or weights a network can lose, and the network without them. cut() is the whole recipe: watch, score,
// select, apply, check, repair, report; it reads no file, writes none and prints nothing. Its parts are here too: groups of
// channels that must be cut together, criteria that score them, targets, plans as plain data, and apply(), which is exact.
// Definitions: docs/criteria.md. Tests: tests/prune
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "elek/batch_source.h"
#include "elek/export.h"
#include "elek/graph.h"
#include "elek/memory.h"
#include "elek/session.h"
#include "elek/statistics.h"

namespace elek {

// Groups: the channels that must be cut together. How channels pass a node, its operator says (ChannelFlow, graph/ops): those
// that tie channels put inputs and output into one group (a residual sum, batch norm, a pool, a depthwise convolution); a
// convolution separates its input's group from its output's; a channel_map (option-A shortcut) ties nothing.

/// A convolution or linear layer that reads a value of the group.
struct GroupConsumer {
  ValueId node = -1;   // the convolution or linear
  ValueId value = -1;  // what it reads
};
struct Group {
  std::string name;  // of its most telling value: the first tapped one, else the first
  int64_t channels = 0;
  int64_t conv_groups = 1;         // > 1: equal counts must stay in each of so many equal slices (ResNeXt)
  bool prunable = false;           // false: network input, classifier output, or ties that leave nothing to cut (find_groups)
  std::vector<ValueId> values;     // every value with these channels, in order
  std::vector<ValueId> taps;       // the activations among them (else the last value): where coverage looks
  std::vector<ValueId> producers;  // convolutions and linear layers whose output channels these are
  std::vector<GroupConsumer> consumers;
};

/// Every value's group, ordered by first value; taps, producers and consumers only name nodes that the output depends on.
/// * A depthwise convolution (groups == inputs == outputs > 1) keeps channels apart: it ties input and output, and is both
///   producer and consumer of the group.
/// * Another grouped convolution asks both its groups for equal counts a slice. Several such constraints in one group become
///   their least common multiple; where that does not divide the channels, or slices have one channel, nothing can be cut.
/// * Flattening HxW > 1 positions ties too: channel c is then elements [c*H*W, (c+1)*H*W) of the flat value (spread below).
[[nodiscard]] ELEK_API std::vector<Group> find_groups(const Graph& graph);

/// Index into `groups` of each value's group, by ValueId.
[[nodiscard]] ELEK_API std::vector<size_t> group_of_values(const Graph& graph, const std::vector<Group>& groups);

/// Index of the group with that name or with a value of that name. UsageError naming it if there is none.
[[nodiscard]] ELEK_API size_t find_group(const Graph& graph, const std::vector<Group>& groups, const std::string& name);

/// How many neighbouring elements of the value make one channel of its group: 1 but for what follows a flatten of an image.
[[nodiscard]] ELEK_API int64_t spread(const Graph& graph, const Group& group, ValueId value);

/// Convolutions and linear layers whose outputs are the network's answer: never cut without being asked for by name.
[[nodiscard]] ELEK_API bool is_classifier(const Graph& graph, const std::vector<Group>& groups, ValueId node);

/// kMacs: scores are costs that add up along the order of going (prune/refit_costs.h); as many MACs go as under kLayer, where
/// they cost least.
enum class Scope : uint8_t { kLayer, kGlobal, kMacs };
[[nodiscard]] ELEK_API const char* name_of(Scope scope);  // "layer", "global", "macs": as History records it
enum class Compare : uint8_t { kOutput, kLayer };         // weights compete inside an output channel, or in the whole layer

struct ChannelTarget {
  double share = 0;  // of each group's channels (kLayer) or of all (kGlobal), 0 <= share < 1
  Scope scope = Scope::kLayer;
  int64_t round_to = 0;                          // kept counts: 0 = auto, 1 = exact, k = multiples of k (kept_count())
  std::vector<std::string> ignore = {};          // names of groups or of values in them that stay whole
  std::map<std::string, double> overrides = {};  // name -> share
  std::optional<double> macs = std::nullopt;     // kMacs: MACs an image that may stay; else what equal shares would leave
  /// In place of round_to where set: the count that a group of this graph keeps when it would keep so many (--round-to
  /// measured, prune/staircase.h). Under kMacs it rounds what the budget, reckoned with round_to, has given.
  std::function<int64_t(const Graph&, const Group&, int64_t kept)> round = nullptr;
};

struct WeightTarget {
  double sparsity = 0;   // share of weights set to zero
  int64_t n = 0, m = 0;  // n:m pattern along input channels instead, where m > 0: n of m stay
  Compare compare = Compare::kOutput;
  std::vector<std::string> ignore;
};

struct GroupCut {
  std::string group;
  int64_t channels = 0;
  std::vector<int64_t> keep;   // strictly increasing
  std::vector<double> scores;  // [channels]
};
struct WeightCut {
  std::string node;           // convolution or linear
  std::vector<uint8_t> keep;  // one a weight, 1 = keep, row-major as the parameter
  int64_t removed = 0;
};
struct PrunePlan {
  std::string criterion, target;   // as History records them
  std::vector<GroupCut> groups;    // only groups that lose channels
  std::vector<WeightCut> weights;  // only layers that lose weights
  [[nodiscard]] bool removes_nothing() const noexcept { return groups.empty() && weights.empty(); }
};

/// Lowest scores first, ties by index; never empties a group; keeps equal counts a convolution group. The plan's criterion is
/// left for the caller, who scored. kGlobal: each group's scores are divided by their mean, then the lowest round(s * total) of
/// all channels go, whatever their group, as long as it keeps one; counts are then rounded as in kLayer. Groups with an
/// override keep their own share and are not in the pool. UsageError for a share out of range, or a name that is unknown, asked
/// for twice, or (in an override) of a group that cannot be cut. kMacs: see kept_by_cost().
[[nodiscard]] ELEK_API PrunePlan select_channels(const std::vector<Group>& groups,
                                                 const std::vector<std::vector<double>>& scores, const Graph& graph,
                                                 const ChannelTarget& target);

/// |w| * norm: weights of every layer with tap norms; the classifier stays whole unless it was probed. kOutput removes
/// round(s * columns) of each output's weights, kLayer round(s * weights) of the layer's, lowest first, ties by index, and each
/// leaves at least one (a row, a layer). n:m keeps the n highest of each m consecutive input channels of one output and tap;
/// channels left over beyond the last whole m stay. UsageError for a target out of range or an unknown name, InputError for
/// statistics of another model, without tap norms, or not finite.
[[nodiscard]] ELEK_API PrunePlan select_weights(const Model& model, const Statistics& statistics, const WeightTarget& target);

/// The model without the channels (or with zeros for the weights) that the plan removes; tensors it does not change are shared.
/// New tensors come from `resource`, which must outlive the model. Preprocessing, labels and history are the model's own: the
/// caller appends to the history. Validates the whole plan first: ContractError naming group, expected, found leaves nothing
/// half-cut; OutOfMemory likewise.
[[nodiscard]] ELEK_API Model apply(const Model& model, const PrunePlan& plan, MemoryResource& resource);

/// The dense model with channel_map masks ("NAME.mask") that zero the removed channels where convolutions, linear layers and
/// channel_maps read them. Between those everything keeps channels apart, so a removed channel reaches nothing else. Weight
/// cuts are applied as they are. Validates as apply().
[[nodiscard]] ELEK_API Model masked(const Model& model, const PrunePlan& plan, MemoryResource& resource);

/// Largest |compact - masked| over the logits of the batch, and the bound it must stay under: both networks compute the same
/// sums in another order, so the bound is derived from depth, widths, eps and the largest logit.
struct Equivalence {
  double difference = 0;
  double bound = 0;
  int64_t samples = 0;
};

/// Runs both on the first batch of the source, one session after the other. ContractError if the difference passes the bound
/// (a NaN does), or if the source is empty. `options` gives device, batch, threads and memory; probes are ignored.
[[nodiscard]] ELEK_API Equivalence check_equivalence(const Model& compact, const Model& masked, BatchSource& source,
                                                     SessionOptions options);

/// kRefitBatchNorm: the refit, then re-estimation.
enum class Repair : uint8_t { kNone, kBatchNorm, kRefit, kRefitBatchNorm };
[[nodiscard]] ELEK_API std::string name_of(Repair repair);                // "none", "bn", "refit", "refit+bn"
[[nodiscard]] ELEK_API Repair repair_from_name(const std::string& name);  // UsageError listing the names
[[nodiscard]] constexpr bool refits(Repair repair) noexcept {
  return repair == Repair::kRefit || repair == Repair::kRefitBatchNorm;
}
[[nodiscard]] constexpr bool reestimates(Repair repair) noexcept {
  return repair == Repair::kBatchNorm || repair == Repair::kRefitBatchNorm;
}

/// Which narrow values to keep for passes that look at `inputs` (ascending, one each): for each pass the last narrow
/// value before or at its input whose activations fit in `bytes`, of all networks and `samples` images. Early values, which are
/// the largest, cost least to make again.
struct KeptValues {
  std::vector<ValueId> from;    // one a pass; -1: the images
  std::vector<int64_t> floats;  // an image, one a network; empty: nothing is kept
  size_t bytes = 0;             // all of them
  int64_t recomputed = 0;       // passes that could start later, if there were room
};

// Criteria: how channels are scored, high = keep. A criterion is one object: what it is called, what it has to look at, and the
// function from that to scores. Everything else asks the object and never for its name. A criterion that is added is one file
// in prune/criteria/ and one line in prune/criteria/list.h. Definitions: docs/criteria.md.

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

class ELEK_API Criterion {
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
[[nodiscard]] ELEK_API const std::vector<const Criterion*>& all_criteria();
/// UsageError that lists the names if there is none of that name.
[[nodiscard]] ELEK_API const Criterion& find_criterion(const std::string& name);
/// What a cut goes by where nobody says: refit.
[[nodiscard]] ELEK_API const Criterion& default_criterion();

/// What to watch so that score_channels(criterion) has its sums; empty where it needs none. UsageError if the criterion cannot
/// be watched on that tap: raw convolutions (Tap::kConv) are not what layers read.
[[nodiscard]] ELEK_API Probes probes_for(const Criterion& criterion, const Graph& graph, Tap tap = Tap::kRelu);
/// What Wanda on weights needs: the tap norms of every convolution and linear layer but the classifier.
[[nodiscard]] ELEK_API Probes probes_for_weights(const Graph& graph);

/// The criterion's scores of every group. InputError as check_statistics(), or if the sums are of another tap than it reads;
/// ContractError if the evidence lacks measured costs that it needs. `seed` matters to criteria that draw.
[[nodiscard]] ELEK_API Scores score_channels(const Model& model, const std::vector<Group>& groups, const Criterion& criterion,
                                             const Evidence& evidence, uint64_t seed);

// The recipe of a cut: watch, score, select, apply, check, repair, report. cut() does all of it and is what most programs call;
// prune/recipe_steps.h has its steps one by one. Reads no file and writes none, prints nothing: whoever wants to know how far
// it is gives a CutObserver. Memory: sessions come from options.session.memory, networks that are made from options.memory.

/// What to cut, how, and where it runs. As it stands: 30 % of the channels by the criterion refit, repaired by least squares.
struct ELEK_API CutOptions {
  bool weights = false;  // set single weights to zero (Wanda, by `sparsity`) in place of removing channels
  const Criterion* criterion = &default_criterion();  // of channels
  Tap tap = Tap::kRelu;                               // what is watched of a layer
  ChannelTarget channels{.share = 0.3};               // its scope is not looked at: `scope` below says
  std::optional<Scope> scope = std::nullopt;          // empty: the criterion's own
  WeightTarget sparsity;
  Repair repair = Repair::kRefit;
  int steps = 1;      // rounds to reach the target in; statistics are taken again between them
  uint64_t seed = 0;  // of criteria that draw
  /// Gives a cut network whose choice is repeated; nothing is watched or scored then. Called once, and what it gives is let go
  /// after the choice.
  std::function<Model()> replay = nullptr;
  std::string replay_name;      // what to call it in errors
  std::string evaluation_hash;  // names the evaluation data's contents in History (content_hash() of elek/data.h)

  SessionOptions session;            // device, precision, batch, threads, memory of every session; probes are set by the recipe
  MemoryResource* memory = nullptr;  // of networks that are made; null = host_resource()
  /// Bytes that sessions may still take when it is asked; null, or nothing returned: no limit is known.
  std::function<std::optional<size_t>()> memory_left = nullptr;

  /// `channels` with the scope that the cut has.
  [[nodiscard]] ChannelTarget channel_target() const;
  /// Whether channels are chosen by costs that are measured over the images.
  [[nodiscard]] bool measures_costs() const { return !weights && !replay && criterion->needs_images(); }
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
class ELEK_API CutObserver {
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
class ELEK_API RemovesNothing : public UsageError {
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
[[nodiscard]] ELEK_API CutReport cut(const Model& dense, BatchSource& calibrate, BatchSource* evaluate,
                                     const CutOptions& options, CutObserver& observer);

}  // namespace elek
