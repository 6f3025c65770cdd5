// SPDX-License-Identifier: Apache-2.0
// Tests: tests/golden/storages_test.cpp
#include "backends/storages.h"

#include <algorithm>

#include "core/error.h"

namespace elek::backends {
namespace {

const ProgramTensor& tensor(const Program& program, int32_t index) { return program.tensors[static_cast<size_t>(index)]; }

bool alike(const ProgramTensor& a, const ProgramTensor& b) {
  return a.shape == b.shape && a.dtype == b.dtype && a.layout == b.layout && a.bytes == b.bytes;
}

/// May step i write its result over `operand`, one of the values that it reads?
bool is_free(const Program& program, int32_t answer, size_t i, int32_t operand) {
  if (operand < 0 || !alike(tensor(program, operand), tensor(program, program.steps[i].output))) return false;
  const int32_t storage = tensor(program, operand).storage;
  if (tensor(program, answer).storage == storage) return false;
  int reads = 0;
  for (size_t j = i; j < program.steps.size(); ++j) {
    program.steps[j].for_each_read([&](int32_t read) { reads += tensor(program, read).storage == storage ? 1 : 0; });
  }
  return reads == 1;  // only this step's own read
}

}  // namespace

std::vector<Place> share_storages(Program& program, int32_t answer, const std::vector<Overwrites>& can, Reuse reuse,
                                  bool keep) {
  ELEK_CHECK(can.size() == program.steps.size(), "expected one Overwrites per step");
  const auto last = static_cast<int32_t>(program.steps.size()) - 1;
  std::vector<Place> places(program.steps.size(), Place::kNew);
  const auto free_to_take = [&](size_t i, int32_t operand) {
    return reuse == Reuse::kInPlace && is_free(program, answer, i, operand);
  };
  for (size_t i = 0; i < places.size(); ++i) {
    const ProgramStep& step = program.steps[i];
    ProgramTensor& made = program.tensors[static_cast<size_t>(step.output)];
    if (can[i].alias || (can[i].input && free_to_take(i, step.input))) {
      places[i] = Place::kInput;
      made.storage = tensor(program, step.input).storage;
    } else if (can[i].residual && free_to_take(i, step.residual)) {
      places[i] = Place::kResidual;
      made.storage = tensor(program, step.residual).storage;
    } else {
      made.storage = static_cast<int32_t>(program.storages.size());
      program.storages.push_back({made.name, made.bytes, static_cast<int32_t>(i), 0});
    }
  }
  const auto lives_until = [&](int32_t index, int32_t step) {
    int32_t& end = program.storages[static_cast<size_t>(tensor(program, index).storage)].last_step;
    end = std::max(end, step);
  };
  for (int32_t i = 0; i <= last; ++i) {
    const ProgramStep& step = program.steps[static_cast<size_t>(i)];
    step.for_each_read([&](int32_t read) { lives_until(read, i); });
    lives_until(step.output, keep ? last : i);
  }
  lives_until(answer, last);
  return places;
}

}  // namespace elek::backends
