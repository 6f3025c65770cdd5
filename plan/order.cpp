// SPDX-License-Identifier: Apache-2.0
// Searches over sets of finished steps, level by level: all sets of one step, of two, of three …
// Tests: tests/unit/order_test.cpp
#include "plan/order.h"

#include <algorithm>
#include <map>

#include "elek/memory.h"

namespace elek {
namespace {

using Set = std::vector<bool>;  // finished steps

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }
size_t at(int32_t i) { return static_cast<size_t>(i); }

/// Bytes with one lifetime: a value, a value and its aliases, or both halves of a residual sum.
struct Part {
  size_t bytes = 0;
  std::vector<int32_t> makers;   // steps; it is alive from the first of them …
  std::vector<int32_t> readers;  // … to the last of all
  bool output = false;           // the network's logits: alive to the end
};

class Search {
 public:
  explicit Search(const Program& program) : program_(program), steps_(program.steps.size()) {
    maker_.assign(program.tensors.size(), -1);
    reads_.assign(program.tensors.size(), 0);
    part_of_.assign(program.tensors.size(), -1);
    before_.resize(steps_);
    for (size_t i = 0; i < steps_; ++i) {
      const ProgramStep& s = program.steps[i];
      if (s.output >= 0) maker_[at(s.output)] = static_cast<int32_t>(i);
      s.for_each_read([&](int32_t read) { ++reads_[at(read)]; });
      convolutions_add_in_place_ =
          convolutions_add_in_place_ || (s.node.node.is<Conv2dAttrs>() && shares(s.output, s.residual));
    }
    for (size_t i = 0; i < steps_; ++i) note(static_cast<int32_t>(i));
    if (steps_ > 0 && program.steps.back().output >= 0) part(program.steps.back().output).output = true;
  }

  StepOrder run() const {
    StepOrder found;
    found.own_bound_bytes = found.bound_bytes = own_bound();
    std::vector<Level> levels{{{Set(steps_, false), Path{}}}};
    size_t sets = 0;
    for (size_t done = 0; done < steps_; ++done) {
      Level next;
      for (const auto& [set, path] : levels.back()) extend(set, path, next);
      sets += next.size();
      if (sets > kMostSets) return found;
      levels.push_back(std::move(next));
    }
    if (steps_ == 0) return found;
    const Path& end = levels.back().begin()->second;
    found.orders = end.orders;
    if (end.bound >= found.own_bound_bytes) return found;
    found.bound_bytes = end.bound;
    Set set(steps_, true);
    for (size_t done = steps_; done > 0; --done) {  // backwards along the best path
      const int32_t step = levels[done].at(set).last;
      found.nodes.push_back(program_.steps[at(step)].node.node.name);
      set[at(step)] = false;
    }
    std::reverse(found.nodes.begin(), found.nodes.end());
    return found;
  }

 private:
  struct Path {
    size_t bound = 0;  // largest sum of bytes in the best order that ends in this set
    double orders = 1;
    int32_t last = -1;  // the last step of that order
  };
  using Level = std::map<Set, Path>;

  [[nodiscard]] const ProgramTensor& tensor(int32_t i) const { return program_.tensors[at(i)]; }
  [[nodiscard]] Part& part(int32_t tensor) { return parts_[at(part_of_[at(tensor)])]; }
  [[nodiscard]] const Part& part(int32_t tensor) const { return parts_[at(part_of_[at(tensor)])]; }
  [[nodiscard]] bool shares(int32_t a, int32_t b) const { return a >= 0 && b >= 0 && tensor(a).storage == tensor(b).storage; }
  [[nodiscard]] bool alike(int32_t a, int32_t b) const {
    return tensor(a).shape == tensor(b).shape && tensor(a).layout == tensor(b).layout && tensor(a).dtype == tensor(b).dtype;
  }

  /// The step that makes the other half of this step's residual sum, if each of the two could run last: fuse() can join the sum
  /// to either, and no watched value would lose its storage. Else -1.
  [[nodiscard]] int32_t other_half(const ProgramStep& s) const {
    if (s.residual < 0 || maker_[at(s.residual)] < 0 || !s.node.node.is<Conv2dAttrs>() || s.observed) return -1;
    const int32_t other = maker_[at(s.residual)];
    const ProgramStep& o = program_.steps[at(other)];
    const bool plain = o.node.node.is<Conv2dAttrs>() && o.node.activation.is_none() && o.residual < 0 && !o.observed;
    const bool free = plain && reads_[at(s.residual)] == 1 && shares(s.output, s.residual) && alike(s.output, s.residual);
    return free ? other : -1;
  }

  void note(int32_t step) {
    const ProgramStep& s = program_.steps[at(step)];
    const int32_t other = other_half(s);
    s.for_each_read([&](int32_t read) {
      if (other >= 0 && read == s.residual) return;
      part(read).readers.push_back(step);
      for (const int32_t maker : makers_of(read)) before_[at(step)].push_back(maker);
    });
    if (s.output < 0) return;
    if (other >= 0) {  // one storage: the first half to run makes it, the second adds to it
      part_of_[at(s.output)] = part_of_[at(s.residual)];
      part(s.output).makers.push_back(step);
    } else if (op_class(s.node.node) == OpClass::kReshape && shares(s.output, s.input)) {
      part_of_[at(s.output)] = part_of_[at(s.input)];
      aliases_[s.output] = step;
    } else {
      part_of_[at(s.output)] = static_cast<int32_t>(parts_.size());
      parts_.push_back({aligned(tensor(s.output).bytes), {step}, {}, false});
    }
  }

  /// Steps that must be done before the tensor can be read.
  [[nodiscard]] std::vector<int32_t> makers_of(int32_t tensor) const {
    if (const auto alias = aliases_.find(tensor); alias != aliases_.end()) return {alias->second};
    return part(tensor).makers;
  }

  [[nodiscard]] static bool all_done(const std::vector<int32_t>& steps, const Set& set, int32_t but) {
    return std::all_of(steps.begin(), steps.end(), [&](int32_t s) { return s == but || set[at(s)]; });
  }

  [[nodiscard]] size_t live(const Set& set) const {
    size_t bytes = 0;
    for (const Part& p : parts_) {
      const bool begun = std::any_of(p.makers.begin(), p.makers.end(), [&](int32_t s) { return set[at(s)]; });
      if (begun && (p.output || !all_done(p.makers, set, -1) || !all_done(p.readers, set, -1))) bytes += p.bytes;
    }
    return bytes;
  }

  /// May the step write over this operand when the steps of `set` are done? The same rule as in the backends: no other step
  /// still reads it.
  [[nodiscard]] bool overwrites(int32_t step, int32_t operand, const Set& set) const {
    const ProgramStep& s = program_.steps[at(step)];
    if (operand < 0 || !alike(operand, s.output) || part(operand).output) return false;
    const auto& readers = part(operand).readers;
    return std::count(readers.begin(), readers.end(), step) == 1 && all_done(readers, set, step);
  }

  [[nodiscard]] size_t added(int32_t step, const Set& set) const {
    const ProgramStep& s = program_.steps[at(step)];
    if (s.output < 0) return 0;
    const Part& p = part(s.output);
    if (std::any_of(p.makers.begin(), p.makers.end(), [&](int32_t m) { return set[at(m)]; })) return 0;
    const OpClass of = op_class(s.node.node);
    const bool elementwise = is_elementwise(of);
    if (elementwise && overwrites(step, s.input, set)) return 0;
    const bool adds = elementwise || (of == OpClass::kConv && convolutions_add_in_place_);
    return adds && overwrites(step, s.residual, set) ? 0 : p.bytes;
  }

  [[nodiscard]] size_t cost(int32_t step, const Set& set, size_t live_bytes) const {
    return live_bytes + added(step, set) + aligned(program_.steps[at(step)].workspace_bytes);
  }

  void extend(const Set& set, const Path& path, Level& next) const {
    const size_t live_bytes = live(set);
    for (int32_t step = 0; step < static_cast<int32_t>(steps_); ++step) {
      if (set[at(step)] || !all_done(before_[at(step)], set, -1)) continue;
      Set more = set;
      more[at(step)] = true;
      const size_t bound = std::max(path.bound, cost(step, set, live_bytes));
      const auto [found, fresh] = next.try_emplace(std::move(more), Path{bound, path.orders, step});
      if (fresh) continue;
      found->second.orders += path.orders;
      if (bound < found->second.bound) {
        found->second.bound = bound;
        found->second.last = step;
      }
    }
  }

  [[nodiscard]] size_t own_bound() const {
    Set set(steps_, false);
    size_t bound = 0;
    for (int32_t step = 0; step < static_cast<int32_t>(steps_); ++step) {
      bound = std::max(bound, cost(step, set, live(set)));
      set[at(step)] = true;
    }
    return bound;
  }

  const Program& program_;
  size_t steps_;
  bool convolutions_add_in_place_ = false;
  std::vector<int32_t> maker_, reads_, part_of_;  // of each tensor
  std::map<int32_t, int32_t> aliases_;            // tensor -> the step that renames it
  std::vector<std::vector<int32_t>> before_;      // for each step: the steps that it needs
  std::vector<Part> parts_;
};

}  // namespace

StepOrder search_order(const Program& program) { return Search(program).run(); }

}  // namespace elek
