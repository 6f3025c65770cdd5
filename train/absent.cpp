// SPDX-License-Identifier: Apache-2.0
// Training in a build without the CPU backend: an error that says what to configure.
#include "core/error.h"
#include "elek/train.h"

namespace elek {

Model distill(const Model& /*dense*/, const Model& /*student*/, BatchSource& /*images*/, const SessionOptions& /*session*/,
              const DistillOptions& /*options*/, const Progress& /*progress*/, DistillReport& /*report*/) {
  throw DeviceError("distillation trains on the CPU, and this build has no CPU backend; configure it with -DELEK_CPU=ON");
}

}  // namespace elek
