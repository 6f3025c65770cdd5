// SPDX-License-Identifier: Apache-2.0
// search_order() compared with every order of small random programs, judged by the test's own simulation: values live from
// their step to their last reader, a sum of two producers belongs to the one that runs last, and the last reader of a value may
// overwrite it if the backend does so. The number of orders must agree too.
#include "plan/order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "core/runtime.h"
#include "elek/memory.h"
#include "plan/program.h"

namespace elek {
namespace {

/// A step of the reference: the values it reads, the bytes it writes, and whether it may overwrite its last operand. `sum`: two
/// steps with the same number (>= 0) are the two halves of a sum.
struct Toy {
  std::vector<size_t> reads;
  size_t bytes = 0;
  size_t workspace = 0;
  bool relu = false;
  int sum = -1;
};

/// Toy networks: an input, convolutions of random sizes, ReLUs of the same size as what they read, and residual sums of two
/// convolutions that nobody else reads. Value i is made by step i; the value of a sum is its second half's.
std::vector<Toy> toy_network(uint64_t seed) {
  Random random(seed);
  std::vector<Toy> made{{{}, kAlignment * (1 + random.below(8)), 0, false, -1}};
  std::vector<size_t> readable{0};
  const auto any = [&] { return readable[random.below(readable.size())]; };
  int sums = 0;
  while (made.size() < 6) {
    const uint64_t kind = random.below(4);
    if (kind == 0) {
      const size_t from = any();
      made.push_back({{from}, made[from].bytes, 0, true, -1});
    } else if (kind == 1) {
      const size_t bytes = kAlignment * (1 + random.below(8));
      made.push_back({{any()}, bytes, kAlignment * random.below(4), false, sums});
      made.push_back({{any()}, bytes, kAlignment * random.below(4), false, sums});
      ++sums;
    } else {
      made.push_back({{any()}, kAlignment * (1 + random.below(8)), kAlignment * random.below(4), false, -1});
    }
    readable.push_back(made.size() - 1);
  }
  // The output reads all values without a reader, so the network has no dead ends.
  std::set<size_t> unread(readable.begin(), readable.end());
  for (const Toy& t : made) {
    for (const size_t r : t.reads) unread.erase(r);
  }
  for (const size_t r : unread) made.push_back({{r}, kAlignment, 0, false, -1});
  return made;
}

Program program_of(const std::vector<Toy>& toys) {
  Program program;
  for (size_t i = 0; i < toys.size(); ++i) {
    const Toy& toy = toys[i];
    ProgramTensor t;
    t.name = "v" + std::to_string(i);
    t.bytes = toy.bytes;
    t.shape = {static_cast<int64_t>(toy.bytes), 1, 1};
    ProgramStep step;
    step.node.node.name = t.name;
    step.node.node.attrs = toy.relu ? Attrs(ReluAttrs{}) : i == 0 ? Attrs(InputAttrs{}) : Attrs(Conv2dAttrs{});
    step.output = static_cast<int32_t>(i);
    step.workspace_bytes = toy.workspace;
    if (!toy.reads.empty()) step.input = static_cast<int32_t>(toy.reads[0]);
    t.storage = static_cast<int32_t>(i);
    if (toy.sum >= 0 && toys[i - 1].sum == toy.sum) {
      step.residual = static_cast<int32_t>(i - 1);
      t.storage = static_cast<int32_t>(i - 1);
    }
    program.tensors.push_back(t);
    program.steps.push_back(std::move(step));
  }
  return program;
}

/// Peak of one order. The steps read the values of `toys`; the value of a sum exists once both halves have run.
size_t peak_of(const std::vector<Toy>& toys, const std::vector<size_t>& order) {
  std::map<size_t, size_t> blocks;  // value (first half of a sum) -> bytes alive
  const auto key = [&](size_t v) { return toys[v].sum >= 0 && toys[v - 1].sum == toys[v].sum ? v - 1 : v; };
  std::vector<int> left(toys.size(), 0);
  for (const Toy& t : toys) {
    for (const size_t r : t.reads) ++left[key(r)];
  }
  size_t peak = 0;
  for (const size_t step : order) {
    const Toy& toy = toys[step];
    const bool over = toy.relu && left[key(toy.reads[0])] == 1;
    if (over) blocks.erase(key(toy.reads[0]));
    blocks[key(step)] = toy.bytes;
    size_t now = toy.workspace;
    for (const auto& [value, bytes] : blocks) now += bytes;
    peak = std::max(peak, now);
    for (const size_t r : toy.reads) {
      if (--left[key(r)] == 0) blocks.erase(key(r));
    }
    if (left[key(step)] == 0 && step + 1 != toys.size()) blocks.erase(key(step));  // nobody reads it, and it is no answer
  }
  return peak;
}

TEST(StepOrder, IsTheBestOfAllOrdersOfSmallPrograms) {
  int improved = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const std::vector<Toy> toys = toy_network(seed);
    if (toys.size() > 8) continue;
    std::vector<size_t> order(toys.size());
    std::iota(order.begin(), order.end(), size_t{0});
    const size_t own = peak_of(toys, order);
    size_t best = std::numeric_limits<size_t>::max();
    double orders = 0;
    do {
      std::vector<size_t> place(order.size());
      for (size_t i = 0; i < order.size(); ++i) place[order[i]] = i;
      bool legal = true;
      for (size_t i = 0; i < toys.size(); ++i) {
        for (const size_t r : toys[i].reads) {
          legal = legal && place[r] < place[i];
          if (toys[r].sum >= 0) legal = legal && place[r - 1] < place[i];  // both halves
        }
      }
      if (!legal) continue;
      ++orders;
      best = std::min(best, peak_of(toys, order));
    } while (std::next_permutation(order.begin() + 1, order.end()));
    const StepOrder found = search_order(program_of(toys));
    EXPECT_EQ(found.own_bound_bytes, own) << "seed " << seed;
    EXPECT_EQ(found.bound_bytes, best) << "seed " << seed;
    EXPECT_EQ(found.orders, orders) << "seed " << seed;
    EXPECT_EQ(found.nodes.empty(), best == own) << "seed " << seed;
    improved += found.nodes.empty() ? 0 : 1;
    if (!found.nodes.empty()) {  // the order given is one that reaches the bound
      std::vector<size_t> given;
      for (const std::string& name : found.nodes) given.push_back(static_cast<size_t>(std::stoi(name.substr(1))));
      EXPECT_EQ(peak_of(toys, given), best) << "seed " << seed;
    }
  }
  EXPECT_GT(improved, 20) << "networks whose own order is not the best";
}

TEST(StepOrder, TooManySetsKeepTheProgramsOrder) {
  std::vector<Toy> toys{{{}, 256, 0, false, -1}};
  for (int i = 0; i < 20; ++i) toys.push_back({{0}, 256, 0, false, -1});  // 2^20 sets
  const StepOrder found = search_order(program_of(toys));
  EXPECT_TRUE(found.nodes.empty());
  EXPECT_EQ(found.bound_bytes, found.own_bound_bytes);
}

}  // namespace
}  // namespace elek
