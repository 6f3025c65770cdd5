// SPDX-License-Identifier: Apache-2.0
// Tests: tests/golden/memory_test.cpp
#include "backends/host_staging.h"

namespace elek::backends {

HostStaging::HostStaging(const Program& program, const CommonNotes& notes, size_t outputs)
    : batch_(program.batch), input_(notes.input_shape) {
  const auto batch = static_cast<size_t>(batch_);
  for (size_t i = 0; i < pixels_.size(); ++i) {
    pixels_[i] = reserve(bytes_, static_cast<size_t>(input_.elements()) * batch);
    labels_[i] = reserve(bytes_, batch * sizeof(int32_t));
  }
  output_elements_ = static_cast<size_t>(program.tensors[static_cast<size_t>(notes.output)].shape.elements()) * batch;
  for (size_t i = 0; i < outputs; ++i) outputs_.push_back(reserve(bytes_, output_elements_ * sizeof(float)));
}

std::array<Slot, 2> HostStaging::slots(std::byte* staging) const {
  std::array<Slot, 2> made;
  for (size_t i = 0; i < made.size(); ++i) {
    made[i] = {reinterpret_cast<uint8_t*>(staging + pixels_[i]), reinterpret_cast<int32_t*>(staging + labels_[i]), batch_, 0,
               input_};
  }
  return made;
}

}  // namespace elek::backends
