// SPDX-License-Identifier: Apache-2.0
// Training and gradients in a build without the CPU backend: an error that says what to configure.
#include "core/error.h"
#include "elek/train.h"
#include "train/gradients.h"

namespace elek {

Model distill(const Model& /*dense*/, const Model& /*student*/, BatchSource& /*images*/, const SessionOptions& /*session*/,
              const DistillOptions& /*options*/, const Progress& /*progress*/, DistillReport& /*report*/) {
  throw DeviceError("distillation trains on the CPU, and this build has no CPU backend; configure it with -DELEK_CPU=ON");
}

namespace train {

namespace {
DeviceError no_backend() {
  return DeviceError("gradients are computed on the CPU, and this build has no CPU backend; configure it with -DELEK_CPU=ON");
}
}  // namespace

GradientMemory gradient_memory(const Graph& /*graph*/, const GradientOptions& /*options*/) { throw no_backend(); }

void for_each_gradient(const Model& /*model*/, BatchSource& /*images*/, const GradientOptions& /*options*/,
                       const std::function<void(const Gradient&)>& /*each*/, const Progress& /*progress*/) {
  throw no_backend();
}

}  // namespace train

}  // namespace elek
