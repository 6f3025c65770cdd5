// SPDX-License-Identifier: Apache-2.0
#include "cli/cut.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>

#include "cli/choose.h"
#include "core/error.h"
#include "core/memory/process_memory.h"
#include "core/runtime.h"
#include "data/loader.h"
#include "models/model_file.h"
#include "prune/refit.h"
#include "prune/refit_costs.h"
#include "prune/trail.h"

namespace elek::cli {
namespace {

/// A refit keeps no more activations than this without --memory-limit: enough for ResNet-50's second stage and 1,000 images.
constexpr size_t kCheckpointBytes = size_t{4} << 30;

/// Some samples of another data set, in an order of their own.
class Sample final : public Dataset {
 public:
  Sample(std::shared_ptr<const Dataset> all, std::vector<int64_t> indices)
      : all_(std::move(all)), indices_(std::move(indices)) {}
  [[nodiscard]] int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  [[nodiscard]] int64_t classes() const override { return all_->classes(); }
  [[nodiscard]] const std::vector<std::string>& labels() const override { return all_->labels(); }
  [[nodiscard]] int32_t label(int64_t index) const override { return all_->label(at(index)); }
  [[nodiscard]] std::string name(int64_t index) const override { return all_->name(at(index)); }
  void decode(int64_t index, const ImageShape& shape, std::span<uint8_t> pixels) const override {
    all_->decode(at(index), shape, pixels);
  }
  [[nodiscard]] uint64_t content_hash(int64_t index) const override { return all_->content_hash(at(index)); }

 private:
  [[nodiscard]] int64_t at(int64_t index) const { return indices_.at(static_cast<size_t>(index)); }
  std::shared_ptr<const Dataset> all_;
  std::vector<int64_t> indices_;
};

// A seeded shuffle, so that few batches of a folder sorted by class still see every class. Made here and not in the loader, so
// that overlap is looked for among the images really used.
std::shared_ptr<const Dataset> shuffled_sample(std::shared_ptr<const Dataset> all, int64_t count, uint64_t seed) {
  Random random(seed);
  std::vector<int64_t> order = random.permutation(all->size());
  if (count > 0 && count < all->size()) order.resize(static_cast<size_t>(count));
  return std::make_shared<Sample>(std::move(all), std::move(order));
}

Cut history_cut(const GroupCut& cut) {
  return {cut.group, cut.channels, cut.keep, cut.channels - static_cast<int64_t>(cut.keep.size()), cut.scores};
}

HistoryEntry history_entry(const Dense& dense, const Statistics& watched, const Choice& choice, const CutSpec& spec,
                           const Context& context) {
  const PrunePlan& plan = choice.plan;
  HistoryEntry entry;
  entry.action = plan.weights.empty() ? "prune channels" : "prune weights";
  entry.replayed = choice.replayed;
  entry.criterion = plan.criterion;
  entry.target = plan.target;
  entry.repair = name_of(spec.repair);
  entry.source_hash = to_hex(hash(dense.model));
  if (watched.samples > 0) {  // not where the criterion looks at weights alone
    entry.calibration = watched.data;
    entry.calibration_samples = watched.samples;
    entry.tap = watched.tap == Tap::kRelu ? "relu" : "conv";
    entry.kernels = watched.kernels;
  } else if (!spec.weights && spec.criterion == Criterion::kRefit && choice.replayed.empty()) {  // images, but no sums
    entry.calibration = dense.input.calibrate;
    entry.calibration_samples = dense.calibration->size();
  }
  if (spec.repair != Repair::kNone) {
    entry.repair_data = dense.input.calibrate;
    entry.repair_samples = dense.calibration->size();
  }
  entry.seed = context.common().seed;
  entry.version = ELEK_VERSION;
  for (const GroupCut& group : plan.groups) entry.cuts.push_back(history_cut(group));
  for (const WeightCut& layer : plan.weights) {
    entry.cuts.push_back({layer.node, static_cast<int64_t>(layer.keep.size()), {}, layer.removed, {}});
  }
  return entry;
}

Evaluation evaluation_of(const Dense& dense, const CutResult& result) {
  Evaluation made;
  made.data = dense.input.evaluate;
  made.hash = to_hex(content_hash(*dense.evaluation));
  made.samples = dense.accuracy.samples;
  made.dense = dense.accuracy.top1;
  made.pruned = result.pruned.top1;
  if (result.repaired) made.repaired = result.repaired->top1;
  return made;
}

// What a refit may keep of activations. Under --memory-limit what is left beside moments and two sessions of the dense network
// with a batch of values each (more than parts of it need); else a part of the machine's memory.
size_t checkpoint_bytes(const Dense& dense, size_t moments_bytes, Context& context) {
  const SessionOptions options = context.session_options(dense.input.batch);
  if (!starts_from_values(options.device)) return 0;
  const std::optional<size_t> left = context.memory_left();
  if (!left) return std::min(kCheckpointBytes, physical_memory_bytes() / 4);
  const SessionEstimate session = estimate_memory(dense.model, options);
  const SessionMemory& m = session.memory;
  const size_t each = m.weights_bytes + m.arena_bytes + m.staging_bytes + session.packing_bytes + size_t{kTrailBatchBytes};
  const size_t other = moments_bytes + 2 * each + parameter_bytes(dense.model);
  return *left > other ? *left - other : 0;
}

/// What a refit or its costs keep of activations, and how long they take.
std::string work_text(const KeptValues& kept, double dense_passes, const Dense& dense) {
  const double ms = dense_passes * static_cast<double>(dense.calibration->size()) * dense.ms_an_image;
  std::string text = readable_bytes(kept.bytes) + " of activations kept";
  if (kept.recomputed > 0)
    text += " (there is no room for more: " + std::to_string(kept.recomputed) + " layers start further back)";
  return text + "; the work of " + decimal(dense_passes, 1) + " dense passes over the calibration images, about " +
         duration(std::chrono::duration<double>(ms / 1e3));
}

/// What a refit will hold and take.
void foretell_refit(const Dense& dense, const Model& pruned, const PrunePlan& plan, Context& context) {
  const RefitPlan work = refit_plan(dense, pruned, plan, context);
  context.output().note("refit: " + std::to_string(work.layers.size()) + " layers, one after the other; up to " +
                        readable_bytes(work.moments_bytes) + " of moments (" + work.moments_layer + ") and " +
                        work_text(work.kept, work.dense_passes, dense));
}

}  // namespace

Watch bars(const Context& context) {
  return [output = context.output()](const std::string& label) -> Progress {
    const auto bar = std::make_shared<ProgressBar>(output, label);
    return [bar](int64_t done, int64_t total) { bar->update(done, total); };
  };
}

Measured measure(const Model& model, const Dense& dense, const Progress& progress, Context& context) {
  Session session(model, context.session_options(dense.input.batch));
  const auto source = context.loader(dense.evaluation, 0, dense.input.evaluate);
  Measured measured;
  const auto start = std::chrono::steady_clock::now();
  measured.accuracy = evaluate(session, *source, progress, &measured.hits);
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
  measured.arena_bytes = session.memory().arena_bytes;
  measured.ms_an_image = took.count() / static_cast<double>(std::max<int64_t>(1, measured.accuracy.samples));
  return measured;
}

Dense load_dense(const CutInput& input, Context& context) {
  Dense dense;
  dense.path = input.model;
  dense.input = input;
  context.phase("load", [&] {
    dense.model = load_model(input.model, context.memory());
    const ImageShape& shape = dense.model.graph.input_shape();
    if (!input.evaluate.empty()) dense.evaluation = parse_data(input.evaluate, shape);
    dense.calibration =
        shuffled_sample(parse_data(input.calibrate, shape), input.max_batches * input.batch, context.common().seed);
    if (dense.evaluation) dense.overlap = overlap(*dense.calibration, *dense.evaluation);
  });
  if (dense.overlap > 0) {
    warn(std::to_string(dense.overlap) + " of the " + std::to_string(dense.calibration->size()) +
         " calibration images are among the evaluation images: the accuracies below flatter the cut");
  }
  if (!dense.evaluation) return dense;
  Measured measured = context.phase("inference", [&] { return measure(dense.model, dense, bars(context)("dense"), context); });
  dense.hits = std::move(measured.hits);
  dense.accuracy = measured.accuracy;
  dense.arena_bytes = measured.arena_bytes;
  dense.ms_an_image = measured.ms_an_image;
  return dense;
}

Collected collect(const Dense& dense, const Probes& probes, Context& context) {
  return context.phase("collection", [&] {
    SessionOptions options = context.session_options(dense.input.batch);
    options.probes = probes;
    Session session(dense.model, options);
    const auto source = context.loader(dense.calibration, 0, dense.input.calibrate);
    ProgressBar bar(context.output(), "collect");
    for_each_batch(session, *source, 0, bar.callback());
    Collected collected{session.statistics(), session.memory().statistics_bytes};
    collected.statistics.data = dense.input.calibrate;
    return collected;
  });
}

RefitPlan refit_plan(const Dense& dense, const Model& pruned, const PrunePlan& plan, Context& context) {
  const int threads = context.common().threads;
  const size_t moments_bytes = plan_refit(dense.model, pruned, plan, threads, 1, 0).moments_bytes;
  return plan_refit(dense.model, pruned, plan, threads, dense.calibration->size(),
                    checkpoint_bytes(dense, moments_bytes, context));
}

void add_refit_costs(Dense& dense, Context& context) {
  const SessionOptions options = context.session_options(dense.input.batch);
  const std::vector<Group> groups = find_groups(dense.model.graph);
  const auto plan = [&](size_t bytes) {
    return plan_refit_costs(dense.model.graph, groups, thread_count(options.threads), dense.calibration->size(), bytes);
  };
  const RefitCostsPlan work = plan(checkpoint_bytes(dense, plan(0).moments_bytes, context));
  context.output().note("choosing by the metric refit: " + std::to_string(work.layers) +
                        " layers, one after the other; up to " + readable_bytes(work.moments_bytes) + " of moments and " +
                        work_text(work.kept, work.dense_passes, dense));
  dense.refit_costs = context.phase("collection", [&] {
    const auto source = context.loader(dense.calibration, 0, dense.input.calibrate);
    return refit_costs(dense.model, groups, *source, options, bars(context)("refit costs"), {kRidge, work.kept.bytes});
  });
}

Probes probes_of(const CutSpec& spec, const Graph& graph) {
  return spec.weights ? probes_for_weights(graph) : probes_for(spec.criterion, graph, spec.tap);
}

PrunePlan make_plan(const Dense& dense, const Statistics& statistics, const CutSpec& spec, uint64_t seed) {
  if (spec.weights) {
    PrunePlan plan = select_weights(dense.model, statistics, spec.sparsity);
    plan.criterion = "wanda";
    return plan;
  }
  const std::vector<Group> groups = find_groups(dense.model.graph);
  const bool by_cost = spec.criterion == Criterion::kRefit;
  ELEK_CHECK(!by_cost || !dense.refit_costs.empty(), "make_plan: the metric refit without add_refit_costs()");
  ChannelTarget target = spec.channels;
  if (by_cost && target.scope == Scope::kGlobal) target.scope = Scope::kMacs;
  const auto scores = by_cost ? dense.refit_costs : score_channels(dense.model, groups, spec.criterion, statistics, seed);
  PrunePlan plan = select_channels(groups, scores, dense.model.graph, target);
  plan.criterion = name_of(spec.criterion);
  return plan;
}

Applied apply_checked(const Dense& dense, const PrunePlan& plan, Context& context) {
  Applied applied{apply(dense.model, plan, context.memory()), {}};
  const Model masks = masked(dense.model, plan, context.memory());
  const auto source = context.loader(dense.calibration, dense.input.batch, dense.input.calibrate);
  applied.equivalence = check_equivalence(applied.model, masks, *source, context.session_options(dense.input.batch));
  return applied;
}

Model repaired(const Dense& dense, const Model& pruned, const PrunePlan& plan, Repair repair, const Watch& watch,
               Context& context) {
  Model model = pruned;
  const SessionOptions options = context.session_options(dense.input.batch);
  const auto source = context.loader(dense.calibration, 0, dense.input.calibrate);
  if (refits(repair)) {
    const RefitOptions how{kRidge, refit_plan(dense, pruned, plan, context).kept.bytes};
    model = refit(dense.model, pruned, plan, *source, options, watch("refit"), how);
  }
  if (reestimates(repair)) {
    model = reestimate_batch_norm(model, *source, 0, options, watch("re-estimate"));
  }
  return model;
}

CutResult cut(const Dense& dense, const Collected& collected, const CutSpec& spec, Context& context) {
  CutResult result;
  const Watch watch = bars(context);
  const Choice choice = choose(dense, collected, spec, watch, context);
  result.plan = choice.plan;
  if (result.plan.removes_nothing()) {
    throw UsageError("the target " + result.plan.target + " removes nothing from " + dense.path + "; ask for a larger share" +
                     (spec.weights ? "" : ", or --round-to 1"));
  }
  Applied applied = context.phase("pruning", [&] { return apply_checked(dense, result.plan, context); });
  result.model = std::move(applied.model);
  result.equivalence = applied.equivalence;
  context.output().note("check: the compact network equals the masked dense one within " +
                        scientific(result.equivalence.difference) + " (bound " + scientific(result.equivalence.bound) +
                        ") on " + std::to_string(result.equivalence.samples) + " images");
  const Measured pruned =
      context.phase("inference", [&] { return measure(result.model, dense, watch("just pruned"), context); });
  result.pruned = pruned.accuracy;
  result.pruned_arena_bytes = pruned.arena_bytes;
  if (spec.repair != Repair::kNone) {
    if (refits(spec.repair)) foretell_refit(dense, result.model, result.plan, context);
    result.model =
        context.phase("repair", [&] { return repaired(dense, result.model, result.plan, spec.repair, watch, context); });
    result.repaired =
        context.phase("inference", [&] { return measure(result.model, dense, watch("repaired"), context).accuracy; });
  }
  HistoryEntry entry = history_entry(dense, collected.statistics, choice, spec, context);
  entry.evaluation = evaluation_of(dense, result);
  result.model.history.push_back(std::move(entry));
  throw_if_interrupted();
  save_model(result.model, spec.out);
  result.dense_file_bytes = std::filesystem::file_size(dense.path);
  result.pruned_file_bytes = std::filesystem::file_size(spec.out);
  return result;
}

}  // namespace elek::cli
