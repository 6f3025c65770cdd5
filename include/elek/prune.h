// SPDX-License-Identifier: Apache-2.0
// Pruning: chooses channels or weights that a network can lose, and makes the network without them. cut() does all steps:
// watch, score, select, apply, check, repair, report. It reads and writes no file and prints nothing. Its parts are here too:
// groups of channels that must be cut together, criteria that score them, targets, plans as plain data, and apply(), which is
// exact.
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
#include "elek/train.h"

namespace elek {

// Groups: channels that must be cut together. Each operator says how channels pass it (ChannelFlow, elek/ops/operator.h). An
// operator that ties channels puts its inputs and its output into one group: a residual sum, batch norm, a pool, a depthwise
// convolution. A convolution separates its input's group from its output's. A channel_map (option-A shortcut) ties nothing. A
// concatenation keeps its inputs' groups apart: each has a segment of the result, and of every value tied to it.

/// A convolution or linear layer that reads a value of the group.
struct GroupConsumer {
  ValueId node = -1;   // the convolution or linear
  ValueId value = -1;  // what it reads
};
/// Neighbouring channels of a value that belong to one group: `count` of them from `first` on. A multiple of the group's
/// channels, channel c being the neighbours [c * count / channels, (c + 1) * count / channels): more than one after flattening
/// an image.
struct GroupSegment {
  ValueId value = -1;
  int64_t first = 0;
  int64_t count = 0;
};
struct Group {
  std::string name;  // of its first watched value that holds no other group, else of its first such value (find_groups)
  int64_t channels = 0;
  int64_t conv_groups = 1;             // > 1: number of convolution groups; equal counts must stay in each (ResNeXt)
  bool prunable = false;               // false: network input, logits, or ties that leave nothing to cut (find_groups)
  std::vector<ValueId> values;         // every value with these channels, in order
  std::vector<GroupSegment> segments;  // where they lie in the values, by value and first channel
  std::vector<ValueId> watched;        // the activations among them, else the last value: what coverage watches
  std::vector<ValueId> producers;      // convolutions and linear layers whose output channels these are
  std::vector<GroupConsumer> consumers;
};

/// All groups, ordered by first segment; every channel of every value is in one. watched, producers and consumers contain only
/// nodes that the output depends on.
/// * A depthwise convolution (groups == inputs == outputs > 1) keeps channels apart: it ties input and output, and is both
///   producer and consumer of the group.
/// * Any other grouped convolution requires equal counts per convolution group, for its input and its output. Several such
///   constraints on one group become their least common multiple. If that does not divide the channels, or a convolution group
///   has one channel, nothing can be cut; nor if several groups share the convolution's input or output.
/// * Flattening HxW > 1 positions also ties: channel c is then elements [c*H*W, (c+1)*H*W) of the flat value.
/// * A concatenation divides its result into segments, and every value that is tied to the result (by a sum, say). A group that
///   has no value for itself is called VALUE[i]: segment i of its first value.
[[nodiscard]] ELEK_API std::vector<Group> find_groups(const Graph& graph);

/// The group's segments in the value, by first channel; empty if it has none there.
[[nodiscard]] ELEK_API std::span<const GroupSegment> segments_in(const Group& group, ValueId value);

/// A segment, and the index of its group.
struct ValueSegment {
  size_t group = 0;
  int64_t first = 0;
  int64_t count = 0;
};
/// [value]: its segments, by first channel. ContractError if the groups are not the graph's.
[[nodiscard]] ELEK_API std::vector<std::vector<ValueSegment>> segments_of_values(const Graph& graph,
                                                                                 const std::vector<Group>& groups);

/// [channel of the value]: the channel of the group that it is, or -1 if it is another group's.
[[nodiscard]] ELEK_API std::vector<int64_t> channels_of(const Graph& graph, const Group& group, ValueId value);

/// Index of the group with that name, or of the only group in the value of that name. UsageError naming it if there is none,
/// or if several groups share the value.
[[nodiscard]] ELEK_API size_t find_group(const Graph& graph, const std::vector<Group>& groups, const std::string& name);

/// Convolutions and linear layers whose outputs are the logits. They are cut only if asked for by name.
[[nodiscard]] ELEK_API bool is_classifier(const Graph& graph, const std::vector<Group>& groups, ValueId node);

/// kLayer: the same share of every group. kGlobal: one pool of all groups. kMacs: scores are costs that add up in the order of
/// removal (prune/refit_costs.h); removes as many MACs as kLayer would, where they cost least.
enum class Scope : uint8_t { kLayer, kGlobal, kMacs };
[[nodiscard]] ELEK_API const char* name_of(Scope scope);  // "layer", "global", "macs": as History records it
enum class Compare : uint8_t { kOutput, kLayer };         // weights compete inside an output channel, or in the whole layer

/// What a budget counts: MACs (multiply-adds) per image; parameters as parameter_count() counts them; bytes of the model file;
/// bytes of weights and arena of a session; microseconds of one run on this machine.
enum class BudgetUnit : uint8_t { kMacs, kParameters, kFileBytes, kMemory, kLatency };
/// As History records it: "macs", "params", "file-bytes", "memory", "latency-us".
[[nodiscard]] ELEK_API const char* name_of(BudgetUnit unit);

struct UsageTerms;  // prune/usage.h
struct PrunePlan;

/// The most that the cut network may use.
struct Budget {
  BudgetUnit unit = BudgetUnit::kMacs;
  double limit = 0;
  /// Needed by all units but the first two, which follow from the graph: about what each layer uses (prune/budget_terms.h).
  /// Counts are chosen by it.
  std::shared_ptr<const UsageTerms> terms = nullptr;
  /// And what a cut network really uses, before its repair. make_plan() (prune/recipe_steps.h) holds the limit by it.
  std::function<double(const Model& cut, const PrunePlan& plan)> exact = nullptr;
};

struct ChannelTarget {
  double share = 0;  // of each group's channels (kLayer) or of all (kGlobal), 0 <= share < 1
  Scope scope = Scope::kLayer;
  int64_t round_to = 0;                          // kept counts: 0 = auto, 1 = exact, k = multiples of k (kept_count())
  std::vector<std::string> ignore = {};          // names of groups or of values in them that stay whole
  std::map<std::string, double> overrides = {};  // name -> share
  /// If set, `share` is not used. The cut leaves at most this, and as much of it as the rounding of counts allows: kLayer by
  /// equal shares of all groups, kGlobal by the lowest scores of the pool, kMacs by the least cost.
  std::optional<Budget> budget = std::nullopt;
  /// If set, replaces round_to: returns the rounded count for a group that would keep `kept` channels (--round-to measured,
  /// prune/staircase.h). Under kMacs the budget is computed with round_to, and this function rounds the result.
  std::function<int64_t(const Graph&, const Group&, int64_t kept)> round = nullptr;
};

struct WeightTarget {
  double sparsity = 0;   // share of weights set to zero
  int64_t n = 0, m = 0;  // if m > 0: instead an n:m pattern along input channels, n of m stay
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
  std::vector<uint8_t> keep;  // one per weight, 1 = keep, row-major as the parameter
  int64_t removed = 0;
};
struct PrunePlan {
  std::string criterion, target;   // as History records them
  std::vector<GroupCut> groups;    // only groups that lose channels
  std::vector<WeightCut> weights;  // only layers that lose weights
  [[nodiscard]] bool removes_nothing() const noexcept { return groups.empty() && weights.empty(); }
};

/// Removes the lowest scores first, ties by index. Never empties a group; keeps equal counts per convolution group. The caller
/// sets the plan's criterion. kGlobal: divides each group's scores by their mean, then removes the lowest round(s * total) of
/// all channels, whatever their group, but each group keeps at least one; then rounds the counts as in kLayer. Groups with an
/// override keep their own share and are not in the pool. kMacs: see spend_by_cost(). UsageError for a share out of range, for
/// a budget that cannot be reached, or for a name that is unknown, asked for twice, or (in an override) of a group that cannot
/// be cut.
[[nodiscard]] ELEK_API PrunePlan select_channels(const std::vector<Group>& groups,
                                                 const std::vector<std::vector<double>>& scores, const Graph& graph,
                                                 const ChannelTarget& target);

/// Scores weights by |w| * norm, in every layer with tap norms. The classifier stays whole unless it was watched. kOutput
/// removes round(s * columns) of each output's weights, kLayer round(s * weights) of the layer's: lowest first, ties by index;
/// at least one stays in each output or layer. n:m keeps the n highest of each m consecutive input channels of one output and
/// tap; channels after the last whole m stay. UsageError for a target out of range or an unknown name. InputError for
/// statistics of another model, without tap norms, or not finite.
[[nodiscard]] ELEK_API PrunePlan select_weights(const Model& model, const Statistics& statistics, const WeightTarget& target);

/// The model without the channels (or with zeros for the weights) that the plan removes. Tensors that do not change are shared.
/// New tensors come from `resource`, which must outlive the result. Preprocessing, labels and history are those of the model;
/// the caller appends to the history. The whole plan is validated first. After ContractError (group, expected, found) or
/// OutOfMemory nothing is half cut.
[[nodiscard]] ELEK_API Model apply(const Model& model, const PrunePlan& plan, MemoryResource& resource);

/// The dense model with channel_map masks ("NAME.mask"). They zero the removed channels where convolutions, linear layers and
/// channel_maps read them. All other operators keep channels apart, so a removed channel influences nothing else. Weight cuts
/// are applied as they are. Validates as apply().
[[nodiscard]] ELEK_API Model masked(const Model& model, const PrunePlan& plan, MemoryResource& resource);

/// The largest |compact - masked| over the logits of the batch, and its bound. Both networks compute the same sums in another
/// order; the bound is derived from depth, widths, eps and the largest logit.
struct Equivalence {
  double difference = 0;
  double bound = 0;
  int64_t samples = 0;
};

/// Runs both networks on the first batch of the source, one session after the other. ContractError if the difference exceeds
/// the bound or is NaN, or if the source is empty. `options` gives device, batch, threads and memory; probes are ignored.
[[nodiscard]] ELEK_API Equivalence check_equivalence(const Model& compact, const Model& masked, BatchSource& source,
                                                     SessionOptions options);

/// kRefitBatchNorm: the refit, then re-estimation of batch norm. kDistill: the refit, then distillation (elek/train.h). kAuto:
/// the same, within a limit of time.
enum class Repair : uint8_t { kNone, kBatchNorm, kRefit, kRefitBatchNorm, kDistill, kAuto };
[[nodiscard]] ELEK_API std::string name_of(Repair repair);  // "none", "bn", "refit", "refit+bn", "distill", "auto"
[[nodiscard]] ELEK_API Repair repair_from_name(const std::string& name);  // UsageError listing the names
[[nodiscard]] constexpr bool refits(Repair repair) noexcept { return repair != Repair::kNone && repair != Repair::kBatchNorm; }
[[nodiscard]] constexpr bool distils(Repair repair) noexcept { return repair == Repair::kDistill || repair == Repair::kAuto; }
[[nodiscard]] constexpr bool reestimates(Repair repair) noexcept {
  return repair == Repair::kBatchNorm || repair == Repair::kRefitBatchNorm;
}

/// What the refit makes a layer fit. kLayer: its own output in the dense network. kBlock: if its output completes a residual
/// sum, what is left of the dense network's sum beside the sum's other operands, which may carry errors of earlier layers;
/// otherwise as kLayer (prune/block_target.h).
enum class RefitTarget : uint8_t { kLayer, kBlock };
inline constexpr RefitTarget kDefaultRefitTarget = RefitTarget::kBlock;
[[nodiscard]] ELEK_API std::string name_of(RefitTarget target);                      // "layer", "block"
[[nodiscard]] ELEK_API RefitTarget refit_target_from_name(const std::string& name);  // UsageError listing the names

/// The activations that are kept between passes. A value is narrow if everything later depends on it alone. For each pass: the
/// last narrow value at or before the pass's input whose activations fit in memory, for all networks and images. Early values
/// are the largest, and cost least to compute again.
struct KeptValues {
  std::vector<ValueId> from;    // one per pass; -1: the images
  std::vector<int64_t> floats;  // per image, one per network; empty: nothing is kept
  size_t bytes = 0;             // of all kept activations
  int64_t recomputed = 0;       // passes that could start later with more memory
};

// Criteria score channels: high = keep. A criterion is one object: its name, what it must see, and the function that gives
// scores. All other code asks the object and never compares its name. A new criterion is one file in prune/criteria/ and one
// line in prune/criteria/list.h. Definitions: docs/criteria.md.

/// One list per group, one number per channel; an empty list for a group that is not prunable.
using Scores = std::vector<std::vector<double>>;

class Criterion;

/// What a criterion scores from, besides the model's weights.
struct ELEK_API Evidence {
  Evidence() = default;
  Evidence(Statistics sums) : statistics(std::move(sums)) {}  // NOLINT(google-explicit-constructor): sums are evidence
  Statistics statistics;                                      // if the criterion needs statistics
  size_t statistics_bytes = 0;                                // bytes that the session held for them
  std::map<std::string, Scores> costs;                        // by name, of criteria that need images: what measure() returned
  /// The criterion's costs. ContractError if there are none, or not of this many groups.
  [[nodiscard]] const Scores& costs_of(const Criterion& criterion, const std::vector<Group>& groups) const;
};

/// What long work will hold and take. Plain data, so that it can be printed before the work starts.
struct Forecast {
  std::string criterion;          // whose costs are measured; empty for a repair
  int64_t layers = 0;             // one after the other, with one pass over the images each
  size_t moments_bytes = 0;       // most at one time
  std::string moments_layer;      // the layer that has them, if one layer's are held at a time
  KeptValues kept;                // activations kept between passes
  double dense_passes = 0;        // all work, in passes of the dense network over the images
  double ms = 0;                  // the same in milliseconds; 0 if a pass was not timed
  size_t most_kept_bytes = 0;     // if every activation that saves work were kept: its bytes,
  double least_dense_passes = 0;  // and the work then
  int64_t block_targets = 0;      // of a refit: layers with the block target
  size_t gradient_bytes = 0;      // of a criterion by gradient: parameters, gradients, values and images, at one time
  int64_t gradient_images = 0;    // and images that run forward and back together
};

/// How a criterion that needs images measures.
struct MeasureOptions {
  SessionOptions session;       // device, batch, threads, memory; gradients are computed on the CPU, in f32
  size_t checkpoint_bytes = 0;  // most activations kept between passes
  /// By gradient: most memory for the values of a step and their gradients. A batch that needs more runs in parts.
  size_t arena_bytes = DistillOptions{}.arena_bytes;
  bool use_labels = false;  // by gradient: the images' labels, in place of the classes that the network predicts
};

class ELEK_API Criterion {
 public:
  enum class Needs : uint8_t {
    kWeights,     // the model alone
    kStatistics,  // sums that a session takes: watch() says which
    kImages       // the images themselves: measure() runs parts of the network
  };
  /// What is known about a criterion without calling it.
  struct Traits {
    std::string name;                 // as the command, History and docs/criteria.md write it
    std::string about;                // short text for a list of criteria
    std::string family = "coverage";  // criteria of one idea: "coverage", "wanda", "magnitude", …
    Needs needs = Needs::kStatistics;
    Scope scope = Scope::kLayer;    // used if the cut asks for no scope
    bool costs_compare = false;     // scores are costs in one unit for all groups: kGlobal then becomes kMacs
    bool raw_convolutions = true;   // can also watch raw convolutions (Tap::kConv)
    bool weighs_consumers = false;  // scores are multiplied by the weights of the layers that read the channel
    bool uses_seed = false;         // scores are random: another seed gives others
    bool reads_labels = false;      // can use the images' labels (CutOptions::use_labels)
  };
  explicit Criterion(Traits traits) : traits_(std::move(traits)) {}
  Criterion(const Criterion&) = delete;
  Criterion& operator=(const Criterion&) = delete;
  virtual ~Criterion() = default;

  [[nodiscard]] const Traits& traits() const noexcept { return traits_; }
  [[nodiscard]] const std::string& name() const noexcept { return traits_.name; }
  [[nodiscard]] bool needs_images() const noexcept { return traits_.needs == Needs::kImages; }
  /// The scope of a cut that asks for `asked`; if empty, the criterion's own. If costs can be compared, kGlobal becomes kMacs.
  [[nodiscard]] Scope scope_for(std::optional<Scope> asked) const noexcept;

  /// Adds to `probes` what scores() needs from a prunable group. Adds nothing if the criterion needs no statistics.
  virtual void watch(const Graph& graph, const Group& group, Probes& probes) const;
  /// Scores of every group. Expects evidence that was checked: call score_channels(), which checks it.
  [[nodiscard]] virtual Scores scores(const Model& model, const std::vector<Group>& groups, const Evidence& evidence,
                                      uint64_t seed) const = 0;
  /// For a criterion that needs images: what measure() will hold and take with this many images. ContractError for other
  /// criteria, here and in measure().
  [[nodiscard]] virtual Forecast forecast(const Graph& graph, const std::vector<Group>& groups, int64_t samples,
                                          const MeasureOptions& how) const;
  /// Computes the scores from the images. Errors as refit() (prune/refit.h), and InputError for labels that are missing.
  [[nodiscard]] virtual Scores measure(const Model& model, const std::vector<Group>& groups, BatchSource& images,
                                       const MeasureOptions& how, const Progress& progress) const;

 private:
  Traits traits_;
};

/// All criteria, in the order of lists. They live as long as the program.
[[nodiscard]] ELEK_API const std::vector<const Criterion*>& all_criteria();
/// UsageError that lists the names if there is no such criterion.
[[nodiscard]] ELEK_API const Criterion& find_criterion(const std::string& name);
/// What a cut uses by default: refit.
[[nodiscard]] ELEK_API const Criterion& default_criterion();

/// What to watch for score_channels(criterion); empty if it needs nothing. UsageError if the criterion cannot use that tap:
/// layers do not read raw convolutions (Tap::kConv).
[[nodiscard]] ELEK_API Probes probes_for(const Criterion& criterion, const Graph& graph, Tap tap = Tap::kRelu);
/// What Wanda on weights needs: the tap norms of every convolution and linear layer except the classifier.
[[nodiscard]] ELEK_API Probes probes_for_weights(const Graph& graph);

/// The criterion's scores of every group. InputError as check_statistics(), or if the sums are of another tap than the
/// criterion reads. ContractError if the evidence lacks the measured costs that it needs. `seed` is used by random criteria.
[[nodiscard]] ELEK_API Scores score_channels(const Model& model, const std::vector<Group>& groups, const Criterion& criterion,
                                             const Evidence& evidence, uint64_t seed);

// The recipe of a cut. cut() does all steps, and most programs call only cut(); prune/recipe_steps.h has the single steps. A
// CutObserver is told the progress. Sessions take memory from options.session.memory, new networks from options.memory.

/// What to cut, how, and where it runs. By default: 30 % of the channels by criterion refit, repaired by least squares and by a
/// short distillation.
struct ELEK_API CutOptions {
  bool weights = false;  // set single weights to zero (Wanda, by `sparsity`) instead of removing channels
  const Criterion* criterion = &default_criterion();  // for channels
  bool use_labels = false;                            // by gradient: read the labels of the calibration images
  Tap tap = Tap::kRelu;                               // what is watched of a layer
  ChannelTarget channels{.share = 0.3};               // its scope is ignored: use `scope` below
  std::optional<Scope> scope = std::nullopt;          // empty: the criterion's own
  WeightTarget sparsity;
  Repair repair = Repair::kAuto;
  RefitTarget refit_target = kDefaultRefitTarget;  // read if the repair refits
  DistillOptions distill;                          // for the repairs kDistill and kAuto; its seed is ignored: use `seed` below
  double auto_seconds = 120;                       // most time that kAuto gives the distillation
  int steps = 1;                                   // number of rounds to the target; statistics are taken again between rounds
  uint64_t seed = 0;                               // for random criteria and for the order of the images in the distillation
  /// Returns a cut network whose choice is repeated; nothing is watched or scored then. Called once. The network is freed after
  /// the choice.
  std::function<Model()> replay = nullptr;
  std::string replay_name;      // its name in errors
  std::string evaluation_hash;  // identifies the evaluation data in History (content_hash() of elek/data.h)

  SessionOptions session;            // device, precision, batch, threads, memory of every session; the recipe sets probes
  MemoryResource* memory = nullptr;  // for new networks; null = host_resource()
  /// Bytes that sessions may still take, at the time of the call. Null, or no value returned: no limit is known.
  std::function<std::optional<size_t>()> memory_left = nullptr;
  /// Bytes of activations of the calibration images that may be kept between the passes of criterion and repair. 0: none are,
  /// so peak memory does not depend on the number of images; each pass starts from the images and costs more time.
  size_t keep_activations = 0;

  /// `channels` with the scope of this cut.
  [[nodiscard]] ChannelTarget channel_target() const;
  /// Whether channels are chosen by costs that are measured on the images.
  [[nodiscard]] bool measures_costs() const { return !weights && !replay && criterion->needs_images(); }
};

/// Results of a network on the evaluation images.
struct Measured {
  Accuracy accuracy;
  std::vector<uint8_t> hits;  // one per image, in order: 1 if the network was right
  size_t arena_bytes = 0;
  double ms_an_image = 0;
};

struct CutReport {
  Model model;           // cut and repaired, with the cut in its history
  PrunePlan plan;        // of the dense network
  std::string replayed;  // hash of the network whose choice was repeated, or empty
  Equivalence equivalence;
  std::optional<Measured> dense;  // these three: if there are evaluation images
  std::optional<Measured> pruned;
  std::optional<Measured> repaired;  // and if there was a repair
  std::optional<DistillReport> distilled;
  int64_t watched_samples = 0;  // images whose sums were taken; 0 if the criterion needs none
  size_t statistics_bytes = 0;  // bytes of the sums
  std::string repair;           // what was done, as History says it: "refit+distill target=block"
};

/// The phases of a cut. Each may come several times: once per round.
enum class CutPhase : uint8_t { kInference, kCollection, kScoring, kPruning, kRepair };
/// Work that is long enough for a progress bar.
enum class CutWork : uint8_t { kDense, kCollect, kCosts, kJustPruned, kRefit, kReestimate, kDistill, kRepaired };

/// Is told what a cut does, on the thread that cuts. This base class does nothing: derive and override what you need. An
/// exception thrown here ends the cut, and cut() passes it on.
class ELEK_API CutObserver {
 public:
  CutObserver() = default;
  CutObserver(const CutObserver&) = delete;
  CutObserver& operator=(const CutObserver&) = delete;
  virtual ~CutObserver() = default;
  virtual void begin(CutPhase phase);
  virtual void end(CutPhase phase);  // not called if an exception ends the phase
  /// Returns the function to call after each batch of this work, with the images done and their total. May be empty. It is
  /// destroyed when the work ends.
  [[nodiscard]] virtual Progress start(CutWork work);
  /// What measuring costs or a refit will hold and take. Called before it starts.
  virtual void forecast(const Forecast& forecast);
  /// Round `step` of `steps` has chosen. `so_far` is what all rounds so far remove from the dense network.
  virtual void chosen(int step, int steps, const PrunePlan& so_far);
  /// The distillation ended.
  virtual void distilled(const DistillReport& report);
  /// The check passed: the cut network equals the masked network.
  virtual void checked(const Equivalence& equivalence);
};

/// The target removes nothing. Ask for a larger share.
class ELEK_API RemovesNothing : public UsageError {
 public:
  explicit RemovesNothing(const std::string& target);
  [[nodiscard]] const std::string& target() const noexcept { return target_; }

 private:
  std::string target_;
};

/// All steps of a cut, on the dense network, which does not change. Reads `calibrate` several times, without labels. `evaluate`
/// needs labels and should have other images; if it is null, nothing is measured. Throws RemovesNothing; UsageError for an
/// impossible target (select_channels()); InputError for data or statistics that cannot be used; OutOfMemory; DeviceError;
/// ContractError if the cut network does not equal the masked network. All memory is given back, also after an error.
[[nodiscard]] ELEK_API CutReport cut(const Model& dense, BatchSource& calibrate, BatchSource* evaluate,
                                     const CutOptions& options, CutObserver& observer);

}  // namespace elek
