// SPDX-License-Identifier: Apache-2.0
// Prints the three most probable classes of a JPEG or PNG image: classify MODEL IMAGE
#include <elek/elek.h>

#include <cstdio>

int main(int argc, char** argv) try {
  if (argc != 3) throw elek::UsageError("usage: classify MODEL IMAGE");
  elek::Model model = elek::load_model(argv[1], elek::host_resource());
  const std::vector<std::string> labels = model.labels;
  elek::SessionOptions options;
  options.batch = 1;
  elek::Session session(std::move(model), options);
  elek::Slot& slot = session.slots()[0];
  elek::image_files({argv[2]})->decode(0, slot.shape, {slot.pixels, static_cast<size_t>(slot.shape.elements())});
  slot.count = 1;
  for (const elek::ClassProbability& best : elek::top_classes(session.run(slot), 3))
    std::printf("%5.1f %%  %s\n", 100 * best.probability, best.index < labels.size() ? labels[best.index].c_str() : "?");
  return 0;
} catch (const elek::Error& error) {
  std::fprintf(stderr, "classify: %s\n", error.what());
  return error.exit_code();
}
