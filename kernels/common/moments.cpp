// SPDX-License-Identifier: Apache-2.0
// Tests: tests/kernels/batch_moments_test.cpp
#include "kernels/common/moments.h"

#include <string>

#include "core/error.h"

namespace elek::kernels {

void check_normalisation(const Normalisation& n) {
  ELEK_CHECK(n.channels >= 1 && n.mean != nullptr && n.variance != nullptr && n.old_mean != nullptr &&
                 n.old_variance != nullptr && n.scale != nullptr && n.shift != nullptr,
             "normalisation: " + std::to_string(n.channels) + " channels, or an array is missing");
  ELEK_CHECK(n.eps >= 0, "normalisation: eps is " + std::to_string(n.eps) + ", expected >= 0");
  ELEK_CHECK(n.variance_total == nullptr || n.variance_unbiased != nullptr,
             "normalisation: variance_total needs variance_unbiased");
}

}  // namespace elek::kernels
