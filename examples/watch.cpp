// SPDX-License-Identifier: Apache-2.0
// Shows what channels do on real images: watch MODEL DATA. The sums are taken while the network runs; no activation is kept, so
// the memory does not grow with the number of images.
#include <elek/elek.h>

#include <algorithm>
#include <cstdio>

int main(int argc, char** argv) try {
  if (argc != 3) throw elek::UsageError("usage: watch MODEL DATA (idx:DIR, images:DIR, cifar10:DIR, synthetic:N)");
  elek::Model model = elek::load_model(argv[1], elek::host_resource());
  elek::SessionOptions options;
  for (const elek::Node& node : model.graph.nodes())
    if (node.is<elek::ReluAttrs>()) options.probes.values[node.name] = elek::kActivity;
  const auto images = elek::make_loader(elek::parse_data(argv[2], model.graph.input_shape()), {});
  elek::Session session(std::move(model), options);
  const auto samples = static_cast<long long>(elek::for_each_batch(session, *images, 0, {}));
  std::printf("%lld images, %zu bytes of sums\n", samples, session.memory().statistics_bytes);
  for (const auto& [name, sums] : session.statistics().values) {
    const double all = static_cast<double>(sums.count) * static_cast<double>(sums.channels);
    double active = 0;
    for (const int64_t channel : sums.active) active += static_cast<double>(channel);
    std::printf("%-16s %4lld channels, active at %5.1f %% of positions, never active: %lld\n", name.c_str(),
                static_cast<long long>(sums.channels), 100 * active / all,
                static_cast<long long>(std::count(sums.active.begin(), sums.active.end(), 0)));
  }
  return 0;
} catch (const elek::Error& error) {
  std::fprintf(stderr, "watch: %s\n", error.what());
  return error.exit_code();
}
