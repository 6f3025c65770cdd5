// SPDX-License-Identifier: Apache-2.0
// Lowering, second part: the kernels of every step and their workspace.
// A convolution is asked for in up to three forms (conv_problem.h). Times on the device decide which of the available ones runs
// (choose.h). The choice is written into ProgramStep::kernel and ::choice. Tests: tests/deviceless/lower_test.cpp
#include <algorithm>

#include "backends/cuda/error.h"
#include "backends/cuda/lower.h"
#include "core/error.h"
#include "core/hint.h"
#include "core/runtime.h"
#include "core/sums.h"
#include "elek/memory.h"
#include "kernels/cuda/batch_moments.h"
#include "kernels/cuda/epilogue.h"
#include "kernels/cuda/random_fill.h"
#include "kernels/cuda/tap_norms.h"

namespace elek::backends::cuda {
namespace {

size_t floats(int64_t count) { return static_cast<size_t>(count) * sizeof(float); }

}  // namespace

Lowerer::Ways Lowerer::ways_of(size_t i) const {
  const Step& step = notes.steps[i];
  const FusedNode& f = program.steps[i].node;
  const LowerOptions& o = notes.options;
  const uint32_t sums = sums_of(step);
  const ProgramTensor& y = tensor(step.output);
  Ways ways;
  ConvProblem raw = problem_of(graph_, f, program.micro_batch, o.precision);
  raw.deterministic = o.deterministic;
  // A grouped convolution computes no padding channels, so our epilogue has to write their zeros.
  const bool pads = raw.groups > 1 && y.channel_pitch != y.shape.channels;
  const bool other = !step.activation.is_plain();
  if (step.bn_apart || step.watch_raw || pads || other) {
    // What is watched and normalised includes the convolution's own bias, so the raw convolution adds it then.
    const bool bias = f.node.as<Conv2dAttrs>().bias && (step.bn_apart || step.watch_raw);
    if (bias) raw.epilogue = ConvEpilogue::kFull;
    ways.no_sums = "the raw convolution is needed";
    if (pads) ways.no_sums = "a grouped convolution with padding channels";
    if (other) ways.no_sums = std::string(elek::name_of(step.activation.kind)) + " is not in the convolution's kernel";
    ways.all.push_back({Fusion::kNone, raw});
    return ways;
  }
  if (step.watched >= 0) {
    const auto fused = fused_sums_for(sums, step.activation.is_relu(), program.micro_batch * y.shape.positions());
    if (o.deterministic) {
      ways.no_sums = "sums inside the convolution are added in no fixed order, and a deterministic run was asked for";
    } else if (o.precision == Precision::kF32) {
      ways.no_sums = "sums fuse with TF32 or 16 bits only";
    } else if (!fused) {
      ways.no_sums = fused.reason();
    } else {
      ways.all.push_back({Fusion::kAll, with_epilogue(raw, f, fused.value())});
    }
  }
  // Sums of z need z, so the split step then starts from the raw convolution.
  const bool needs_z = (sums & kMoments) != 0;
  if (!needs_z) {
    ways.all.push_back({step.watched >= 0 ? Fusion::kAllButSums : Fusion::kAll, with_epilogue(raw, f, 0)});
  }
  ways.all.push_back({Fusion::kNone, raw, !needs_z});
  return ways;
}

/// Asks for all ways at once, so that their kernels are built in parallel. The raw convolution is an extra where the epilogue
/// could be in the kernel: it is rarely faster, so no kernel is compiled for it. Where it would keep a residual from being
/// added in place, it is not asked for at all. If nothing else has a kernel, it is asked for in earnest.
void Lowerer::build_convolutions() {
  std::vector<Ways> ways(notes.steps.size());
  std::vector<ConvProblem> problems, extras;
  for (size_t i = 0; i < notes.steps.size(); ++i) {
    if (notes.steps[i].kind != Kind::kConv) continue;
    ways[i] = ways_of(i);
    for (const Way& way : ways[i].all) {
      if (!way.extra) problems.push_back(way.problem);
      if (way.extra && target_.handle != nullptr && notes.steps[i].residual < 0) extras.push_back(way.problem);
    }
  }
  plans_.build(problems);
  problems.clear();
  for (const Ways& each : ways) {
    for (const Way& way : each.all) {
      if (way.fusion == Fusion::kNone || way.problem.sums != 0) continue;
      if (!plans_.at(way.problem).plan.valid()) problems.push_back(each.all.back().problem);
    }
  }
  plans_.build(problems);
  plans_.build(extras, Effort::kPrecompiled);
  for (size_t i = 0; i < notes.steps.size(); ++i) {
    if (notes.steps[i].kind != Kind::kConv) continue;
    choose_way(i, ways[i]);
    choose_place(i);
    const Step& step = notes.steps[i];
    reserve_workspace(i, std::max(step.plan.workspace_bytes(), step.partial_plan.workspace_bytes()));
  }
}

FusionOption Lowerer::option_of(size_t i, const Way& way) {
  FusionOption option;
  option.fusion = way.fusion;
  const Planned* planned = plans_.find(way.problem);
  option.no = planned != nullptr ? planned->no : "not asked for";
  if (!option.no.empty()) return option;
  option.engine = planned->plan.engine();
  option.kernel_us = planned->time_us;
  if (way.fusion != Fusion::kAll) option.pass_us = pass_us(i, way.fusion);
  return option;
}

void Lowerer::choose_way(size_t i, const Ways& ways) {
  Step& step = notes.steps[i];
  ProgramStep& made = program.steps[i];
  std::vector<FusionOption> options,
      partial_options;  // a partial batch runs no sums inside: they would count beyond its samples
  std::vector<const ConvProblem*> problems, partial_problems;
  if (step.watched >= 0 && !ways.no_sums.empty()) {
    options.push_back({Fusion::kAll, "", 0, 0, ways.no_sums});
    problems.push_back(nullptr);
  }
  for (const Way& way : ways.all) {
    FusionOption option = option_of(i, way);
    const auto there = [](const FusionOption& o) { return o.no.empty(); };
    // If there is another way, an extra that has no kernel needs no mention, and one that costs the residual's place is not
    // taken (it may have been asked for by another layer of this shape).
    const bool wanted = option.no.empty() && step.residual < 0;
    if (way.extra && !wanted && std::any_of(partial_options.begin(), partial_options.end(), there)) continue;
    options.push_back(option);
    problems.push_back(&way.problem);
    if (way.problem.sums != 0) continue;
    partial_options.push_back(std::move(option));
    partial_problems.push_back(&way.problem);
  }
  const auto choice = choose(options);
  const auto partial = choose(partial_options);
  if (!choice || !partial) {
    throw Hinted<DeviceError>(Hint::kOtherPrecision,
                              "convolution '" + made.node.node.name + "' (" + key(ways.all.back().problem) + "): cuDNN " +
                                  version_name(target_.cudnn_version) +
                                  " has no kernel for it on this device: " + (choice ? partial.reason() : choice.reason()));
  }
  const FusionOption& taken = options[choice.value().index];
  const Planned& planned = plans_.at(*problems[choice.value().index]);
  step.partial_fusion = partial_options[partial.value().index].fusion;
  step.partial_plan = plans_.at(*partial_problems[partial.value().index]).plan;
  step.fusion = taken.fusion;
  step.plan = planned.plan;
  step.fused_sums = step.plan.problem().sums;
  made.kernel = "cuDNN " + step.plan.engine();
  if (step.watched >= 0 || step.fusion != Fusion::kAll) made.kernel += ", " + std::string(cuda::name_of(step.fusion));
  made.choice = options.size() > 1 ? choice.value().reason : "";
  if (!planned.rivals.empty()) made.choice += (made.choice.empty() ? "timed: " : "; timed: ") + planned.rivals;
}

/// After a raw convolution the residual must still be there for the epilogue. For other plans it is tried.
void Lowerer::choose_place(size_t i) {
  Step& step = notes.steps[i];
  if (step.residual < 0 || notes.options.keep_values || notes.options.batch_moments) return;
  std::string no = "the raw convolution is stored first";
  if (step.fusion != Fusion::kNone && step.partial_fusion != Fusion::kNone) {
    no = plans_.no_in_place(step.plan.problem());
    if (no.empty()) no = plans_.no_in_place(step.partial_plan.problem());
  }
  step.adds_in_place = no.empty();
  std::string& choice = program.steps[i].choice;
  choice += (choice.empty() ? "residual " : "; residual ") + (no.empty() ? "overwritten" : "apart: " + no);
}

/// Time of our own pass after a convolution, over an output of this shape, with warm caches as in the timing of the
/// convolution.
double Lowerer::pass_us(size_t i, Fusion fusion) {
  if (target_.handle == nullptr) return 0;
  const Step& step = notes.steps[i];
  const ProgramTensor& t = tensor(step.output);
  const uint32_t sums = step.watch_raw ? 0 : sums_of(step);
  const std::string name = to_string(t.shape) + "/" + std::to_string(sums) + (fusion == Fusion::kAllButSums ? "o" : "e") +
                           (step.residual >= 0 ? "r" : "");
  if (const auto found = pass_times_.find(name); found != pass_times_.end()) return found->second;
  namespace k = kernels::cuda;
  const size_t workspace_bytes = sums == 0 ? 0 : k::epilogue_workspace_bytes(program.micro_batch, t.shape, sums);
  size_t bytes = 0;
  const size_t y_at = reserve(bytes, t.bytes);
  const size_t residual_at = reserve(bytes, step.residual >= 0 ? t.bytes : 0);
  const size_t totals_at = reserve(bytes, k::ChannelTotals::bytes(t.shape.channels, std::max(sums, 1U)));
  const size_t shift_at = reserve(bytes, floats(t.channel_pitch));
  const size_t workspace_at = reserve(bytes, workspace_bytes);
  const Buffer scratch(bytes, *target_.scratch, "timing kernels", {target_.stream});
  k::launch_random_fill(scratch.data(), bytes, 1, target_.stream);
  auto* base = static_cast<std::byte*>(scratch.data());
  const auto totals =
      k::ChannelTotals::lay_out(base + totals_at, t.shape.channels, std::max(sums, 1U), notes.options.probes.threshold);
  const k::CudaActivation y{base + y_at, t.dtype, program.micro_batch, t.shape, t.channel_pitch};
  k::Epilogue e;
  e.z = e.y = y;
  e.shift = reinterpret_cast<const float*>(base + shift_at);
  e.residual = step.residual >= 0 ? base + residual_at : nullptr;
  e.activation = step.activation;
  e.totals = sums != 0 ? &totals : nullptr;
  e.workspace = base + workspace_at;
  e.workspace_bytes = workspace_bytes;
  const double us = time_us(target_.stream, [&] {
    if (fusion == Fusion::kAllButSums) {
      k::launch_observe(y, totals, base + workspace_at, workspace_bytes, target_.stream);
    } else {
      k::launch_epilogue(e, target_.stream);
    }
  });
  pass_times_[name] = us;
  return us;
}

void Lowerer::build_linear(size_t i) {
  Step& step = notes.steps[i];
  const ProgramTensor& x = tensor(step.input);
  const ProgramTensor& y = tensor(step.output);
  LinearProblem p;
  p.samples = program.micro_batch;
  p.in_features = x.channel_pitch;
  p.out_features = y.shape.channels;
  p.y_pitch = y.channel_pitch;
  p.precision = notes.options.precision;
  p.bias = !step.linear_epilogue;  // otherwise the epilogue adds it
  p.deterministic = notes.options.deterministic;
  ProgramStep& made = program.steps[i];
  if (target_.handle == nullptr) {  // lowering for a device that is not there
    made.kernel = "cuBLASLt";
    return reserve_workspace(i, 0);
  }
  auto linear = Linear::make(p);
  if (!linear) throw DeviceError("linear '" + made.node.node.name + "': " + linear.reason());
  step.linear = std::move(linear).value();
  made.kernel = step.linear->name() + (step.linear_epilogue ? " + epilogue" : "");
  reserve_workspace(i, step.linear->workspace_bytes());
}

void Lowerer::build_rest() {
  for (size_t i = 0; i < notes.steps.size(); ++i) {
    const Kind kind = notes.steps[i].kind;
    if (kind == Kind::kConv) continue;
    if (kind == Kind::kLinear) {
      build_linear(i);
      continue;
    }
    reserve_workspace(i, 0);
  }
}

/// The step's workspace: first the library's own, then what our kernels need.
void Lowerer::reserve_workspace(size_t i, size_t library_bytes) {
  namespace k = kernels::cuda;
  Step& step = notes.steps[i];
  const ProgramTensor& y = tensor(step.output);
  const int64_t samples = program.micro_batch;
  size_t bytes = library_bytes;
  if ((step.kind == Kind::kLinear && step.linear_epilogue) || step.kind == Kind::kRelayout) {
    step.z_offset = reserve(bytes, floats(samples * y.shape.positions() * y.channel_pitch));
  }
  if (step.watched >= 0) {
    step.sums_bytes = k::epilogue_workspace_bytes(samples, y.shape, sums_of(step));
    step.sums_offset = reserve(bytes, step.sums_bytes);
  }
  if (step.by_batch_moments()) {
    const ImageShape& z = step.kind == Kind::kConv ? y.shape : tensor(step.input).shape;
    step.moments_bytes = k::batch_moments_workspace_bytes(samples, z);
    step.moments_offset = reserve(bytes, step.moments_bytes);
  }
  if (step.tap_norm >= 0) {
    step.taps_bytes = k::tap_norm_workspace_bytes(notes.tap_norms[static_cast<size_t>(step.tap_norm)].plan, samples);
    step.taps_offset = reserve(bytes, step.taps_bytes);
  }
  program.steps[i].workspace_bytes = bytes;
}

std::string describe_kernels(const Program& program, const Notes& notes) {
  uint64_t names = kHashSeed;
  for (const ProgramStep& step : program.steps) {
    const std::string line = step.kernel + "\n";
    names = hash_bytes(line.data(), line.size(), names);
  }
  return notes.library + " " + std::string(elek::name_of(notes.options.precision)) + " batch " +
         std::to_string(program.micro_batch) + " " + to_hex(names);
}

}  // namespace elek::backends::cuda
