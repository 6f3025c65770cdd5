// SPDX-License-Identifier: Apache-2.0
// Distillation without labels (Hinton et al. 2015, arXiv 1503.02531): trains a cut network on the calibration images until its
// logits are the dense network's.
//   loss = sum |s - t|^2 / sum |t|^2 over a batch, each logit less the mean of its image's logits (it changes no probability)
// One setting for all networks (docs/criteria.md has results): Adam, each tensor's step 1e-2 of its root mean square, warm-up
// over a tenth of the steps, then a cosine down to 0; batches of 50; images flipped and shifted at random.
// A tenth of the images is held out. The best network on these is returned, at worst the one that was given, so a distillation
// does no harm on them. A run that diverges starts again with a third of the step.
// Memory does not depend on the number of images: the dense logits are computed anew in each pass. The dense network runs on
// the device of the options, the training on the CPU.
// Tests: tests/train/distill_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>

#include "elek/batch_source.h"
#include "elek/export.h"
#include "elek/graph.h"
#include "elek/session.h"

namespace elek {

struct ELEK_API DistillOptions {
  /// Passes over the images that are not held out. 0: 10; 80 if the loss before is above kHardLoss, because then more are worth
  /// their time.
  int passes = 0;
  double seconds = 0;  // at most; fewer passes if they would take longer. 0 = no limit
  double step = 1e-2;  // of Adam, relative to each tensor's root mean square
  int64_t batch = 50;  // images per step
  /// Most memory for the values of a step and their gradients. A batch that needs more runs in parts, whose gradients are
  /// added; one image always runs.
  size_t arena_bytes = size_t{256} << 20;
  bool flip = true;   // mirror half of the images
  bool shift = true;  // move images by up to an eighth of their size; black comes in
  uint64_t seed = 0;  // of the order of the images and of the changes
  /// Share of the labels in the loss: the mean cross-entropy with the images' labels; the rest is that of the logits. 0: no
  /// label is read. 1: labels alone; the dense network is not run.
  double labels = 0;
};

struct ELEK_API DistillReport {
  enum class End : uint8_t {
    kDone,         // all steps were taken
    kTooFew,       // fewer images than kLeastImages: nothing was done
    kTooSlow,      // even a short run would exceed the time limit: nothing was changed
    kInterrupted,  // a signal ended it; the best network so far is returned
    kDiverged,     // the loss grew with every step size
    kNoMemory      // it did not fit into the memory that is left: nothing was changed
  };
  End end = End::kDone;
  int64_t held_out = 0;    // images
  double loss_before = 0;  // on the images held out
  double loss_after = 0;   // of the network returned
  double passes = 0;       // taken, over the images that are not held out
  double seconds = 0;
  double step = 0;           // the relative step that was used
  bool improved = false;     // the returned network is not the given one
  size_t trainer_bytes = 0;  // parameters, gradients, averages and arena
};

inline constexpr double kHardLoss = 0.01;
/// Fewer images are too few to train on and to hold some out.
inline constexpr int64_t kLeastImages = 20;

/// Returns the trained student, or the given one if no better was found. `progress` counts images over all passes.
/// InputError if a logit is NaN or infinite, or if labels are wanted and an image has none that the network knows; DeviceError
/// in a build without the CPU backend; OutOfMemory.
[[nodiscard]] ELEK_API Model distill(const Model& dense, const Model& student, BatchSource& images,
                                     const SessionOptions& session, const DistillOptions& options, const Progress& progress,
                                     DistillReport& report);

}  // namespace elek
