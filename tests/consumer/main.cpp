// SPDX-License-Identifier: Apache-2.0
// Builds a small network with elek's installed headers, runs it, cuts it and runs it again: a test of what a user of the
// library includes and links. Exit code 0 only if the logits are right.
#include <elek/elek.h>

#include <cmath>
#include <cstdio>
#include <memory>
#include <vector>

namespace {

std::vector<float> logits_of(const elek::Model& model) {
  elek::SessionOptions options;
  options.batch = 4;
  elek::Session session(model, options);
  const auto source = elek::make_loader(elek::parse_data("synthetic:6:1", model.graph.input_shape()), {});
  std::vector<float> all;
  elek::for_each_batch(session, *source, 0, {}, [&all](const elek::Slot&, std::span<const float> logits) {
    all.insert(all.end(), logits.begin(), logits.end());
  });
  return all;
}

bool plausible(const std::vector<float>& logits) {
  bool varied = false;
  for (const float value : logits) {
    if (!std::isfinite(value)) return false;
    varied = varied || value != logits.front();
  }
  return varied && logits.size() == 6 * 3;
}

}  // namespace

int main() {
  elek::ResNetSpec spec = elek::resnet_spec("cifar_resnet20");
  spec.classes = 3;
  spec.input = {3, 16, 16};
  elek::Model model;
  model.architecture = spec.name;
  model.graph = elek::build_resnet(spec);
  model.parameters = elek::random_parameters(model.graph, 1, elek::host_resource());
  model.preprocessing = elek::default_preprocessing(3);
  if (!plausible(logits_of(model))) return 1;

  const auto groups = elek::find_groups(model.graph);
  const auto scores = elek::score_channels(model, groups, elek::find_criterion("magnitude"), {}, 0);
  elek::ChannelTarget target;
  target.share = 0.25;
  const auto plan = elek::select_channels(groups, scores, model.graph, target);
  const elek::Model pruned = elek::apply(model, plan, elek::host_resource());
  if (!(elek::parameter_count(pruned) < elek::parameter_count(model)) || !plausible(logits_of(pruned))) return 2;
  std::printf("consumer: %lld parameters, %lld after pruning\n", static_cast<long long>(elek::parameter_count(model)),
              static_cast<long long>(elek::parameter_count(pruned)));
  return 0;
}
