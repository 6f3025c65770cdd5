// SPDX-License-Identifier: Apache-2.0
// Measurements that need a real GPU, run by scripts/gpu-session. Prints JSON on standard output, one object per line.
//   gpu_questions facts                       device, driver, cuDNN; the device's description for the deviceless tests
//   gpu_questions engines [BATCH [LAYER]]             the cost of the fused sums, engine by engine, and undocumented facts
//   about them gpu_questions table ARCH BATCH PRECISION  a session with and without statistics: times, and the choice table
#include <cstdio>
#include <cstdlib>

#include "backends/cuda/cudnn/conv_graph.h"
#include "backends/cuda/device.h"
#include "core/error.h"
#include "tests/gpu/questions/questions.h"

namespace elek {

void print(const Json& line) {
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

namespace {

void facts() {
  const auto device = backends::cuda::find_device(0);
  if (!device) throw DeviceError(device.reason());
  const auto version = backends::cuda::load_cudnn();
  if (!version) throw DeviceError(version.reason());
  const auto model = backends::cuda::DeviceModel::of_device(0);
  if (!model) throw DeviceError(model.reason());
  const auto json = model.value().to_json();
  const backends::cuda::DeviceFacts& f = device.value();
  print({{"device", f.name},
         {"compute_capability", f.compute_capability},
         {"multiprocessors", f.multiprocessors},
         {"memory_bytes", f.memory_bytes},
         {"driver", backends::cuda::cuda_version_name(f.driver_version)},
         {"runtime", backends::cuda::cuda_version_name(f.runtime_version)},
         {"cudnn", backends::cuda::version_name(version.value())},
         {"device_properties", json ? Json::parse(json.value(), nullptr, false) : Json(json.reason())}});
}

int run(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "facts") return facts(), 0;
  if (what == "engines") return ask_engines(argc > 2 ? std::atoll(argv[2]) : 256, argc > 3 ? argv[3] : ""), 0;
  if (what == "table" && argc == 5) return ask_table(argv[2], std::atoll(argv[3]), argv[4]), 0;
  std::fprintf(stderr, "usage: gpu_questions facts | engines [BATCH [LAYER]] | table ARCH BATCH PRECISION\n");
  return 2;
}

}  // namespace
}  // namespace elek

int main(int argc, char** argv) {
  try {
    return elek::run(argc, argv);
  } catch (const elek::Error& error) {
    std::fprintf(stderr, "gpu_questions: %s\n", error.what());
    return error.exit_code();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gpu_questions: %s\n", error.what());
    return 1;
  }
}
