// SPDX-License-Identifier: Apache-2.0
#include "cli/verdict.h"

#include <algorithm>
#include <cmath>

#include "cli/output.h"

namespace elek::cli {
namespace {

constexpr double kLittle = 0.01, kMuch = 0.05;  // losses in shares of the images
constexpr int64_t kFewImages = 1000, kFewWatched = 200;

/// Two standard errors of the difference, as if the images were different ones: the cautious way.
double noise(const VerdictFacts& f) {
  return 2 * std::hypot(standard_error(*f.top1, f.samples), standard_error(*f.dense, f.samples));
}

std::string points(double share) { return decimal(100 * share, 2); }

std::string of_images(const VerdictFacts& f) { return " of " + with_commas(f.samples) + " images"; }

std::string loss_text(const VerdictFacts& f) {
  if (!f.top1 || f.samples == 0) return "Its accuracy was not measured.";
  if (at_chance(f)) {
    return "It does not classify: " + percent(*f.top1) + of_images(f) + " is no better than guessing among " +
           std::to_string(f.classes) + " classes.";
  }
  if (!f.dense) return "It classifies " + percent(*f.top1) + of_images(f) + " correctly.";
  const double loss = *f.dense - *f.top1;
  const std::string figures = percent(*f.top1) + of_images(f) + ", against " + percent(*f.dense) + " before";
  if (loss < -noise(f)) return "Its accuracy is higher than before: " + figures + ".";
  if (loss <= noise(f)) return "No loss of accuracy can be measured: " + figures + ".";
  const std::string how = loss <= kLittle ? "It loses little" : loss <= kMuch ? "It loses accuracy" : "It loses much accuracy";
  return how + " (" + points(loss) + " points): " + figures + ".";
}

std::string times(double before, double after) { return decimal(before / after, 2); }

std::string gain_text(const VerdictFacts& f) {
  if (!f.changed) return "Nothing was removed from it.";
  std::string less;
  if (f.macs_after < f.macs_before) less = times(f.macs_before, f.macs_after) + " times fewer multiply-adds";
  if (f.bytes_before > f.bytes_after && f.bytes_after > 0) {
    less += (less.empty() ? "" : " and ") + times(f.bytes_before, f.bytes_after) + " times fewer bytes";
  }
  const std::string needs = less.empty() ? "It needs as many multiply-adds and bytes as before" : "It needs " + less;
  if (!f.latency) return needs + "; its speed was not measured.";
  const Latency &dense = f.latency->dense, &pruned = f.latency->pruned;
  const std::string figures = decimal(pruned.p50, 3) + " ms an image against " + decimal(dense.p50, 3);
  if (is_slower(pruned, dense)) return needs + ", but it is slower: " + figures + ".";
  if (!is_slower(dense, pruned)) return needs + ", but it is not measurably faster: " + figures + ".";
  return needs + ", and is " + times(dense.p50, pruned.p50) + " times as fast: " + figures + ".";
}

}  // namespace

double standard_error(double share, int64_t samples) {
  return samples > 0 ? std::sqrt(share * (1 - share) / static_cast<double>(samples)) : 0;
}

bool at_chance(const VerdictFacts& f) {
  if (!f.top1 || f.samples == 0 || f.classes < 2) return false;
  const double chance = 1.0 / static_cast<double>(f.classes);
  return *f.top1 <= chance + 2 * standard_error(chance, f.samples);
}

std::string verdict_text(const VerdictFacts& facts) { return loss_text(facts) + " " + gain_text(facts); }

std::vector<std::string> warnings_of(const VerdictFacts& f) {
  std::vector<std::string> warnings;
  const bool known = f.top1 && f.samples > 0;
  if (at_chance(f)) {
    warnings.emplace_back(
        "The accuracy is at chance level. Check the input size, mean and std and the order of the classes; if the "
        "dense network is right on the same images, the cut was too large.");
  } else if (known && f.dense && *f.dense - *f.top1 > kMuch) {
    warnings.push_back("The cut costs " + points(*f.dense - *f.top1) +
                       " points. More calibration images, --repair distill, "
                       "elek tune or a smaller cut help.");
  }
  if (!known) warnings.emplace_back("The accuracy was not measured. Give labelled images with --evaluate.");
  if (known && f.samples < kFewImages) {
    warnings.push_back("The accuracy was measured on " + with_commas(f.samples) + " images only: it is known to ± " +
                       points(2 * standard_error(*f.top1, f.samples)) + " points.");
  }
  if (f.overlap > 0) {
    warnings.push_back(with_commas(f.overlap) +
                       " calibration images are evaluation images too, so the accuracy looks better "
                       "than it is.");
  }
  if (f.calibration_samples > 0 && f.calibration_samples < kFewWatched) {
    warnings.push_back("Only " + with_commas(f.calibration_samples) +
                       " calibration images were watched. A few hundred give "
                       "better choices and repairs.");
  }
  if (f.latency && is_slower(f.latency->pruned, f.latency->dense)) {
    warnings.emplace_back(
        "It is slower than the dense network on this machine. Narrow layers may fit the kernels badly: try "
        "--round-to measured.");
  }
  if (f.zero_weights > 0.05 && f.macs_after >= f.macs_before) {
    warnings.push_back(percent(f.zero_weights, 0) +
                       " of the weights are zero, but the kernels multiply them all: this saves no "
                       "time and no memory here.");
  }
  std::string assumed;
  for (const std::string& assumption : f.assumptions) assumed += (assumed.empty() ? "" : "; ") + assumption;
  if (!assumed.empty())
    warnings.push_back("Assumed when the network was imported, because its file does not say it: " + assumed + ".");
  return warnings;
}

}  // namespace elek::cli
