// SPDX-License-Identifier: Apache-2.0
#include "tests/deviceless/layers.h"

#include <algorithm>

#include "elek/model.h"
#include "graph/passes.h"

namespace elek::test {

std::vector<Layer> layers_of(const std::string& arch, bool pruned, int64_t samples, Sums sums) {
  ResNetSpec spec = resnet_spec(arch);
  if (pruned && spec.bottleneck) spec.width_per_group = 43;          // inner 43, 86, 172, 344
  if (pruned && !spec.bottleneck) spec.widths = {45, 90, 179, 358};  // the residual stream too
  const Graph graph = build_resnet(spec);
  std::vector<Layer> layers;
  for (const FusedNode& step : fuse(graph).steps) {
    if (!step.node.is<Conv2dAttrs>()) continue;
    const uint32_t every = backends::cuda::kEveryFusedSum & ~(step.activation.is_relu() ? 0U : uint32_t{backends::cuda::kMaxY});
    const auto raw = backends::cuda::problem_of(graph, step, samples, Precision::kF16);
    const auto problem = backends::cuda::with_epilogue(raw, step, sums == Sums::kAll ? every : 0);
    const auto same = [&](const Layer& l) { return backends::cuda::key(l.problem) == backends::cuda::key(problem); };
    const auto found = std::find_if(layers.begin(), layers.end(), same);
    if (found != layers.end()) {
      ++found->layers;
    } else {
      layers.push_back({problem, 1});
    }
  }
  return layers;
}

}  // namespace elek::test
