// SPDX-License-Identifier: Apache-2.0
// elek prepare --try: which reading of a weights file agrees with the labels? Every combination of what the file leaves open is
// measured on the same images. The differences between readings are judged image by image (core/paired.h). Of the readings that
// are not clearly worse than the best, the one nearest to the assumptions is taken; so an assumption is changed only for a
// clear gain. Where two are equally near, or nothing is better than chance, the command says so and writes no file. Tests:
// tests/cli/import_test.cpp
#include <algorithm>
#include <cmath>
#include <functional>

#include "cli/labelled.h"
#include "cli/prepare.h"
#include "core/error.h"
#include "core/paired.h"
#include "elek/data.h"
#include "elek/session.h"

namespace elek::cli {
namespace {

/// One answer to one open question.
struct Answer {
  std::string text;  // "zeros behind"
  std::function<void(WeightsOptions&)> apply;
};

/// A question, with the assumed answer first.
using Question = std::vector<Answer>;

struct Candidate {
  std::string text;
  WeightsOptions options;
  int changes = 0;  // against the assumptions
  Judged judged;
  double top1 = 0;
};

Question pixels(int64_t channels) {
  struct Known {
    const char* name;
    std::vector<float> mean, stddev;
  };
  static const std::vector<Known> kColour = {{"ImageNet's pixels", {0.485F, 0.456F, 0.406F}, {0.229F, 0.224F, 0.225F}},
                                             {"CIFAR-10's pixels", {0.4914F, 0.4822F, 0.4465F}, {0.2470F, 0.2435F, 0.2616F}},
                                             {"pixels -1 ... 1", {0.5F, 0.5F, 0.5F}, {0.5F, 0.5F, 0.5F}},
                                             {"pixels 0 ... 1", {0, 0, 0}, {1, 1, 1}}};
  static const std::vector<Known> kGrey = {{"pixels -1 ... 1", {0.5F}, {0.5F}},
                                           {"MNIST's pixels", {0.1307F}, {0.3081F}},
                                           {"Fashion-MNIST's pixels", {0.2860F}, {0.3530F}},
                                           {"pixels 0 ... 1", {0}, {1}}};
  Question question;
  if (channels != 1 && channels != 3) return question;
  for (const Known& known : channels == 3 ? kColour : kGrey) {
    question.push_back({known.name, [known](WeightsOptions& options) {
                          options.preprocessing = Preprocessing{known.mean, known.stddev};
                        }});
  }
  return question;
}

Question question_of(const Taken& taken, const Import& assumed) {
  const Graph& graph = assumed.model.graph;
  switch (taken.what) {
    case Unseen::kPixels:
      return pixels(graph.input_shape().channels);
    case Unseen::kShortcut:
      return {{"zeros on both sides", [](WeightsOptions& o) { o.zeros_behind = false; }},
              {"zeros behind", [](WeightsOptions& o) { o.zeros_behind = true; }}};
    case Unseen::kStride:
      return {{"stride on 3x3", [](WeightsOptions& o) { o.stride_on_first = false; }},
              {"stride on 1x1", [](WeightsOptions& o) { o.stride_on_first = true; }}};
    case Unseen::kStem: {
      const bool pool = graph.find("maxpool") >= 0;
      return {{pool ? "max pool" : "no max pool", [pool](WeightsOptions& o) { o.max_pool = pool; }},
              {pool ? "no max pool" : "max pool", [pool](WeightsOptions& o) { o.max_pool = !pool; }}};
    }
    case Unseen::kEpsilon:
      return {{"eps 1e-5", [](WeightsOptions& o) { o.epsilon = 1e-5; }},
              {"eps 1e-3", [](WeightsOptions& o) { o.epsilon = 1e-3; }}};
    case Unseen::kInputSize:
    case Unseen::kProjection:
    case Unseen::kStages:
    case Unseen::kGate:
    case Unseen::kOrder:
      break;
  }
  return {};
}

/// All combinations of answers; the assumed one first.
std::vector<Candidate> combinations(const std::vector<Question>& questions, const WeightsOptions& options) {
  std::vector<Candidate> made{{"", options, 0, {}, 0}};
  for (const Question& question : questions) {
    std::vector<Candidate> longer;
    for (size_t i = 0; i < question.size(); ++i) {
      for (const Candidate& each : made) {
        Candidate& next = longer.emplace_back(each);
        next.text += (next.text.empty() ? "" : ", ") + question[i].text;
        next.changes += i > 0 ? 1 : 0;
        question[i].apply(next.options);
      }
    }
    made = std::move(longer);
  }
  return made;
}

/// As many images as take about as long for large networks as for small ones.
int64_t images_for(int64_t macs_of_one, size_t readings) {
  constexpr double kMacs = 4e13;  // some minutes on two cores
  constexpr double kFewest = 100, kMost = 1000;
  const double affordable = kMacs / (static_cast<double>(std::max<int64_t>(macs_of_one, 1)) * static_cast<double>(readings));
  return static_cast<int64_t>(std::clamp(affordable, kFewest, kMost));
}

void measure(Candidate& candidate, const Preparation& what, const std::shared_ptr<const Dataset>& data, int64_t limit,
             int64_t batch, Context& context) {
  const Import import = import_file(what, candidate.options, context);
  Session session(import.model, context.session_options(batch));
  LoaderOptions options;
  options.shuffle_seed = context.common().seed;  // folders are sorted by class
  options.limit = limit;
  const auto source = make_loader(data, options);
  std::vector<uint8_t> hits;
  candidate.top1 = evaluate(session, *source, {}, &hits).top1;
  candidate.judged.right.assign(hits.begin(), hits.end());
}

/// The reading to take; InputError if the labels do not choose one.
const Candidate& chosen(const std::vector<Candidate>& all, int64_t classes, const std::string& weights) {
  const auto best =
      std::max_element(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) { return a.top1 < b.top1; });
  const auto images = static_cast<double>(best->judged.right.size());
  const double chance = 1.0 / static_cast<double>(classes);
  if (best->top1 - chance <= 2 * std::sqrt(chance * (1 - chance) / images)) {
    throw InputError(weights +
                     ": no reading agrees with the labels better than chance; are they the labels that it was trained on? "
                     "Nothing was written");
  }
  std::vector<const Candidate*> good;
  for (const Candidate& each : all) {
    const Estimate behind = paired_difference(best->judged, each.judged);
    if (!(behind.value > 0 && behind.is_significant())) good.push_back(&each);
  }
  std::stable_sort(good.begin(), good.end(), [](const Candidate* a, const Candidate* b) { return a->changes < b->changes; });
  if (good.size() > 1 && good[0]->changes == good[1]->changes) {
    throw InputError(weights + ": the labels do not choose between two readings: " + good[0]->text + "; " + good[1]->text +
                     ". Give one of them by its options, or more images. Nothing was written");
  }
  return *good.front();
}

}  // namespace

WeightsOptions choose_reading(const Preparation& what, const std::string& data, int64_t batch, Context& context) {
  WeightsOptions options = import_options(what);
  const Import assumed = import_file(what, options, context);
  std::vector<Question> questions;
  for (const Taken& taken : assumed.taken) {
    if (!taken.assumed()) continue;
    if (Question question = question_of(taken, assumed); !question.empty()) questions.push_back(std::move(question));
  }
  if (questions.empty()) {
    context.output().note("note: nothing about this file is open, so there is nothing to try");
    return options;
  }
  std::vector<Candidate> all = combinations(questions, options);
  const int64_t limit = images_for(macs(assumed.model.graph), all.size());
  const auto samples = labelled_data(data, assumed.model, context.output());
  ProgressBar bar(context.output(), "try", ProgressBar::Counts::kWork);
  for (size_t i = 0; i < all.size(); ++i) {
    measure(all[i], what, samples, limit, batch, context);
    bar.update(static_cast<int64_t>(i) + 1, std::ssize(all));
  }
  Table table({"reading", "top-1"});
  for (const Candidate& each : all) table.add({each.text, percent(each.top1)});
  context.output().result(table.text());
  const Candidate& taken = chosen(all, assumed.model.graph.node(assumed.model.graph.output()).shape.elements(), what.weights);
  context.output().result((taken.changes == 0 ? "The assumed reading agrees with the labels as well as any: "
                                              : "This reading agrees with the labels: ") +
                          taken.text + ", " + percent(taken.top1) + " on " + with_commas(std::ssize(taken.judged.right)) +
                          " images\n");
  return taken.options;
}

}  // namespace elek::cli
